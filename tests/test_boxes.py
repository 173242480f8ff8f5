"""Annotated boxes: VOC's XML and COCO's JSON, and what is no such file."""

import json

import numpy as np
import pytest

from bench.base.errors import BadInput
from bench.data.boxes import read_coco_boxes, read_voc_boxes


def voc(path, *objects, root="annotation", before=""):
    body = "".join(f"<object><name>dog</name>{entry}</object>" for entry in objects)
    path.write_text(f"{before}<{root}><size><width>9</width></size>{body}</{root}>", encoding="utf-8")
    return path


def bndbox(*corners):
    names = ("xmin", "ymin", "xmax", "ymax")
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in zip(names, corners, strict=False))
    return f"<bndbox>{inside}</bndbox>"


def test_voc_s_corners_count_from_1_and_flags_are_kept(tmp_path):
    part = f"<part><name>head</name>{bndbox(1, 1, 2, 2)}</part>"
    path = voc(
        tmp_path / "a.xml",
        bndbox(1, 2, 30, 40),
        f"<difficult>1</difficult>{part}{bndbox(5, 6, 7, 8)}",
        f"<truncated>1</truncated><difficult>0</difficult>{bndbox(45.5, 6, 70, 8)}",
    )
    found = read_voc_boxes(path)
    np.testing.assert_array_equal(found.boxes, [[0, 1, 30, 40], [4, 5, 7, 8], [44.5, 5, 70, 8]])
    assert (found.boxes.dtype, found.hard.dtype, found.hard.tolist()) == (float, bool, [False, True, True])
    assert read_voc_boxes(voc(tmp_path / "none.xml")).boxes.shape == (0, 4)


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not a VOC annotation: no element found"),
        ("<annotation>", "not a VOC annotation"),
        ("<a/>", "its root is <a>"),
        ("<a>" * 50_000, "not a VOC annotation"),
        (f"{BOMB}<annotation>&c;</annotation>", "document type"),
        ('<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>', "document type"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', "not a VOC annotation"),
        ("x" * (1 << 21), "cannot be read: larger than"),
    ],
)
def test_what_is_no_voc_annotation_is_named(tmp_path, content, says):
    path = tmp_path / "a.xml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=says) as caught:
        read_voc_boxes(path)
    assert str(path) in caught.value.problem


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_document_type_is_refused_in_every_encoding(tmp_path, encoding):
    path = tmp_path / "a.xml"
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>{BOMB}<annotation/>'.encode(encoding))
    with pytest.raises(BadInput, match="document type"):
        read_voc_boxes(path)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("", "object 2: bndbox is missing"),
        (bndbox(1, 2, 3), "object 2: ymax is 'None'"),
        (bndbox(1, "left", 3, 4), "object 2: ymin is 'left'"),
        (bndbox(1, "nan", 3, 4), "object 2: ymin is 'nan'"),
        (bndbox(1, 1, "1e300", 4), "object 2: xmax"),
        (bndbox(9, 1, 3, 4), "object 2: the box ends before it begins"),
        (f"<difficult>yes</difficult>{bndbox(1, 2, 3, 4)}", "object 2: difficult is 'yes'"),
    ],
)
def test_an_object_of_voc_without_a_whole_box_is_named(tmp_path, entry, says):
    path = voc(tmp_path / "a.xml", bndbox(1, 2, 3, 4), entry)
    with pytest.raises(BadInput, match=says):
        read_voc_boxes(path)


def test_a_missing_annotation_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"a\.xml cannot be read: No such file"):
        read_voc_boxes(tmp_path / "a.xml")


IMAGES = [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg"}, {"id": 25, "file_name": "25.jpg"}]


def coco(path, *annotations, images=IMAGES):
    entries = [{"id": 7 + place, "image_id": 9, "category_id": 1} | entry for place, entry in enumerate(annotations)]
    path.write_text(json.dumps({"images": images, "annotations": entries}), encoding="utf-8")
    return path


def test_coco_s_corners_are_rounded_half_to_even_and_crowds_dropped(tmp_path):
    path = coco(
        tmp_path / "a.json",
        {"bbox": [0.5, 1.5, 2, 1], "iscrowd": 0},
        {"bbox": [3.4, 2.6, 10.2, 0]},
        {"bbox": [0, 0, 5, 5], "iscrowd": 1},
    )
    found = read_coco_boxes(path)
    assert list(found) == ["COCO_train2014_000000000009", "25"]
    np.testing.assert_array_equal(found["COCO_train2014_000000000009"].boxes, [[0, 2, 2, 2], [3, 3, 14, 3]])
    assert found["COCO_train2014_000000000009"].hard.tolist() == [False, False]
    assert found["25"].boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "'bbox' is missing"),
        ({"bbox": [1, 2, 3]}, "annotation 8: bbox is not"),
        ({"bbox": "1 2 3 4"}, "annotation 8: bbox is not"),
        ({"bbox": [1, 2, -3, 4]}, "annotation 8: the box ends before it begins"),
        ({"bbox": [1, 2, float("inf"), 4]}, "annotation 8: width"),
        ({"bbox": [1, None, 3, 4]}, "annotation 8: y is 'None'"),
        ({"bbox": [1, True, 3, 4]}, "annotation 8: y is 'True'"),
        ({"bbox": [1, 1, 3, 4], "image_id": 4}, "image 4 is annotated but not listed"),
    ],
)
def test_an_annotation_of_coco_without_a_whole_box_is_named(tmp_path, entry, says):
    path = coco(tmp_path / "a.json", {"bbox": [1, 2, 3, 4]}, entry)
    with pytest.raises(BadInput, match=says) as caught:
        read_coco_boxes(path)
    assert str(path) in caught.value.problem


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"images": []}', '{"images": [], "annotations": [7]}'])
def test_what_is_no_coco_annotation_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=r"a\.json is not a COCO annotation file"):
        read_coco_boxes(path)


def test_real_boxes_are_read(realdata):
    found = read_coco_boxes(realdata / "COCO" / "annotations" / "instances_val2017.json")
    assert len(found) == 36
    assert sum(len(boxes.boxes) for boxes in found.values()) > 36
