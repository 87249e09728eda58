"""Random changes to a batch of training images, by functions of a seed alone.

Images are float32 [batch, height, width, channels], already preprocessed: 0 is about the
mean. Every random function takes a seed of two integers and draws for each image from it:
equal seeds give equal images, so a resumed run repeats what it would have seen. `recipe`
puts together what a configuration asks for.
"""
