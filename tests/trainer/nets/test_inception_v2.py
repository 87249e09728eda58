from trainer.nets import builder, registry

# The table at 224 px, row by row.
SHAPES = {
    "images": (224, 224, 3),
    "layer1": (112, 112, 64),
    "layer2": (56, 56, 64),
    "layer3": (56, 56, 64),
    "layer4": (56, 56, 192),
    "layer5": (28, 28, 192),
    "3a": (28, 28, 256),
    "3b": (28, 28, 320),
    "3c": (14, 14, 576),
    "4a": (14, 14, 576),
    "4b": (14, 14, 576),
    "4c": (14, 14, 608),
    "4d": (14, 14, 608),
    "4e": (7, 7, 1056),
    "5a": (7, 7, 1024),
    "5b": (7, 7, 1024),
    "pool": (1024,),
    "dropout": (1024,),
    "logits": (10,),
}


def test_the_table_has_the_shapes_of_the_paper():
    rows = builder.layer_rows(registry.find("inception_v2"))
    assert {row.name: row.shape for row in rows} == SHAPES


def test_the_last_module_pools_by_maximum_and_does_not_halve():
    blocks = {block.name: block for block in registry.find("inception_v2").blocks}
    pools = {
        name: blocks[name].branches[-1][0]
        for name in SHAPES
        if name[0].isdigit() and name[1:].isalpha()
    }
    assert {name for name, pool in pools.items() if pool.kind == "max"} == {
        "3c",
        "4e",
        "5b",
    }
    assert {name for name, pool in pools.items() if pool.stride == 2} == {"3c", "4e"}


def test_small_images_enter():
    spec = registry.find("inception_v2")
    assert builder.smallest_input_px(spec) == 17
    assert builder.layer_rows(spec, image_size_px=32)[-4].shape == (1, 1, 1024)
