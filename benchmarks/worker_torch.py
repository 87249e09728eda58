"""Worker: trains the same net by PyTorch's usual loop. Runs in `.venv-peers`."""

from typing import Any

import torch
import worker_protocol
from peers import torch_nets
from torch.nn import functional

from trainer.nets import registry


def make(task: dict[str, Any]) -> tuple[dict[str, Any], worker_protocol.RunSteps]:
    """Builds the module and its optimizer.

    Args:
      task: as for `worker_ours.make`, and `mode`: 'eager' or 'compiled'.
    """
    torch.manual_seed(1)
    spec, size_px = registry.find(task["net"]), task["image_size_px"]
    module = torch_nets.build(
        spec, num_classes=task["num_classes"], image_size_px=size_px
    ).to(memory_format=torch.channels_last)
    parameters = torch_nets.count_trainable(module)
    optimizer = torch.optim.SGD(
        decay_groups(module, task["weight_decay"]),
        lr=task["learning_rate"],
        momentum=task["momentum"],
        nesterov=True,
        fused=True,
    )
    net = torch.compile(module) if task["mode"] == "compiled" else module
    batch_size = task["batch_size"]
    images = torch.randn(batch_size, spec.channels, size_px, size_px)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(task["num_classes"], [batch_size])
    is_mixed = task["precision"] == "bfloat16"

    def run_steps(steps: int) -> float:
        loss = torch.zeros([])
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
                logits = net(images)
                loss = functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
        return loss.item()

    versions = {"torch": torch.__version__}
    threads = torch.get_num_threads()
    facts = {"versions": versions, "parameters": parameters, "threads": threads}
    return facts, run_steps


def decay_groups(module: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on weights, none on biases and batch norm."""
    trained = [each for each in module.parameters() if each.requires_grad]
    return [
        {
            "params": [each for each in trained if each.ndim > 1],
            "weight_decay": weight_decay,
        },
        {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0},
    ]


if __name__ == "__main__":
    worker_protocol.serve(make)
