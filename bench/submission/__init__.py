"""Submissions to ImageNet-S's server, which alone has the labels of `test`: writes and checks them.

See docs/data.md#submissions-to-imagenet-s.

A zip of one folder a class (`n01440764/`) with a PNG for each of the split's images, 8-bit RGB of (id mod 256, id div
256, 0) at the image's own size, of `method.txt`, and, where the ids are those of clusters, of `match.json`.

The benchmark asks for a description of the method and leaves its form open; that of `method.txt` is ours: UTF-8 text,
one `key: value` a line (`bench.submission.form`). `match.json` is an object of cluster id → class id, the keys as text
(`{"0": 0, "1": 17, …}`), one-to-one, 0 to 0. By default the ids are classes already and there is no `match.json`: the
benchmark asks for matched categories on the test images, and its own tools take predictions as matched unless a table
is given.
"""
