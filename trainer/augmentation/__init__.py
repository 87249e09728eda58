"""Random changes to a batch of training images.

Images are float32 [batch, height, width, channels], already preprocessed: 0 is about the
mean. A seed is two integers. Every random function draws for each image from it: equal seeds
give equal images, so a resumed run repeats what an uninterrupted one sees. `recipe` combines
what a configuration asks for.
"""
