"""`bench download` of networks of other libraries. Only 127.0.0.1 is contacted, and nothing during a run."""

import hashlib
import io
import json
import socket
import zipfile

import pytest

from bench.base.errors import BadInput
from bench.cards.pins import Pins
from bench.networks import adapters, known_weights
from bench.networks.find_model import find_model
from tests.library_servers import Hub
from tests.terminal import said
from tests.webserver import File, answer, in_turn

timm = pytest.importorskip("timm")
torch = pytest.importorskip("torch")
TINY = "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"
REPOSITORY = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(web, monkeypatch):
    """In the place of the Hugging Face hub."""
    monkeypatch.setenv("HF_ENDPOINT", web.base)
    return Hub(web)


@pytest.fixture(scope="module")
def tiny():
    """The weights of a timm network, as timm's repository has them."""
    from safetensors.torch import save

    torch.manual_seed(5)
    return save(timm.create_model("vit_tiny_patch16_224").state_dict())


@pytest.fixture
def no_sockets(monkeypatch):
    """Whoever connects fails the test."""

    def fail(*given, **named):
        raise AssertionError("a connection was tried")

    def call():
        monkeypatch.setattr(socket.socket, "connect", fail)
        monkeypatch.setattr(socket, "getaddrinfo", fail)

    return call


def model(name, cache, **more):
    return find_model(name, None, cache, lambda text: None, **more)


# --- the Hugging Face hub ---


@pytest.mark.slow
def test_weights_of_timm_are_fetched_pinned_and_found_without_a_network(bench, hub, cache, tiny, no_sockets):
    hub.add(REPOSITORY, {"README.md": b"x", "model.safetensors": tiny})
    said(bench("run", "--model", TINY, "--protocol", "linear"), 3, "not on this machine", f"`bench download {TINY}`")
    listed = bench("download", TINY, "--list")
    assert "model.safetensors" in listed.stdout and "apache-2.0" in listed.stdout and "missing" in listed.stdout
    done = bench("download", TINY)
    assert done.returncode == 0 and "as published" in done.stdout, done.stderr
    digest = hashlib.sha256(tiny).hexdigest()
    assert Pins(cache).find(f"networks/{TINY}/model.safetensors").sha256 == digest
    no_sockets()
    found = model(TINY, cache)
    assert found.weights_sha256 == digest and found.origin["commit"] == "a" * 40
    torch.manual_seed(5)
    other = timm.create_model("vit_tiny_patch16_224").eval()
    images = torch.rand(1, 3, 224, 224)
    expected = other.forward_features(images)[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    with torch.inference_mode():
        assert torch.allclose(found.features("cpu")(images), expected, atol=1e-4)
    assert bench("download", TINY).stdout.startswith("model.safetensors: found")


@pytest.mark.slow
def test_a_card_has_the_weights_of_its_network(bench, hub, cache, tiny, tmp_path):
    hub.add(REPOSITORY, {"model.safetensors": tiny})
    (tmp_path / "card.toml").write_text(
        f'schema = 1\nid = "mine"\ntitle = "Mine"\n[network]\nsource = "timm"\nname = "{TINY.partition(":")[2]}"\n'
        '[training]\ninitialisation = "none"\nprior = "none"\nsupervision = "none"\n'
    )
    said(bench("run", "--model", "./card.toml", "--protocol", "linear"), 3, "bench download", "card.toml")
    assert bench("download", "./card.toml").returncode == 0
    found = model(str(tmp_path / "card.toml"), cache)
    assert found.id == "mine" and found.weights_sha256 == hashlib.sha256(tiny).hexdigest()
    assert "found" in bench("download", TINY).stdout


@pytest.mark.slow
def test_a_branch_stays_as_it_was_when_it_was_fetched(bench, hub, cache, tiny):
    hub.add(REPOSITORY, {"model.safetensors": tiny})
    assert bench("download", TINY).returncode == 0
    from safetensors.torch import save

    newer = save(timm.create_model("vit_tiny_patch16_224").state_dict())
    hub.add(REPOSITORY, {"model.safetensors": newer}, commit="b" * 40)
    assert bench("download", TINY).returncode == 0 and model(TINY, cache).origin["commit"] == "a" * 40
    said(bench("download", TINY, "--fresh"), 3, "that was pinned is", "--fresh --repin")
    assert model(TINY, cache).weights_sha256 == hashlib.sha256(tiny).hexdigest()
    assert bench("download", TINY, "--fresh", "--repin").returncode == 0
    found = model(TINY, cache)
    assert found.origin["commit"] == "b" * 40 and found.weights_sha256 == hashlib.sha256(newer).hexdigest()


def test_a_file_that_is_not_the_pinned_one_is_refused(bench, hub, cache, tiny):
    hub.add(REPOSITORY, {"model.safetensors": tiny})
    assert bench("download", TINY).returncode == 0
    path = next((cache / "libraries" / "huggingface").rglob("snapshots/*/model.safetensors"))
    path.resolve().write_bytes(tiny[:-4] + b"abcd")
    with pytest.raises(BadInput, match=r"is not the file of .* pinned on"):
        model(TINY, cache)


@pytest.mark.slow
def test_an_interrupted_download_goes_on(bench, hub, web, cache, tiny):
    hub.add(REPOSITORY, {"model.safetensors": tiny})
    address = f"/{REPOSITORY}/resolve/{'a' * 40}/model.safetensors"

    def gone(handler):
        handler.send_error(404)

    web.table[address] = in_turn(hub.file(tiny, breaks=[5 << 20]), gone)
    said(bench("download", TINY), 4, "are kept, and the same command continues from there")
    said(bench("run", "--model", TINY, "--protocol", "linear"), 3, "not on this machine")
    web.table[address] = hub.file(tiny)
    assert bench("download", TINY).returncode == 0
    starts = [headers["Range"] for method, path, headers in web.requests if path == address and "Range" in headers]
    assert int(starts[-1].removeprefix("bytes=").removesuffix("-")) > 1 << 20
    assert model(TINY, cache).weights_sha256 == hashlib.sha256(tiny).hexdigest()


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "words"),
    [
        (401, "GatedRepo", 4, ("is gated", "accept the terms", "$HF_TOKEN")),
        (403, "GatedRepo", 4, ("is gated",)),
        (404, "RepoNotFound", 3, ("the hub has no repository", "Check the name")),
        (404, "RevisionNotFound", 3, ("has no revision",)),
        (500, "", 4, ("the hub answered 500", "Try again later")),
    ],
)
def test_what_the_hub_refuses_is_one_line(bench, hub, cache, status, code, exit_code, words):
    hub.refuse("owner/name", status, code)
    said(bench("download", "hf:owner/name"), exit_code, "owner/name", *words)


def test_a_wrong_revision_and_a_repository_without_weights_are_said(bench, hub, cache):
    hub.web.table["/api/models/owner/name/revision/v9"] = hub_refusal(404, "RevisionNotFound")
    said(bench("download", "hf:owner/name@v9"), 3, "owner/name has no revision 'v9'")
    hub.add("owner/empty", {"config.json": b"{}", "tf_model.h5": b"x"})
    said(bench("download", "hf:owner/empty"), 3, "has no model.safetensors", "tf_model.h5")
    hub.add("owner/other", {"weights.txt": b"{}"})
    said(bench("download", "hf:owner/other"), 3, "has no config.json")


def hub_refusal(status, code):
    return answer(status, b"{}", X_Error_Code=code)


def test_without_a_network_the_host_is_named(bench, cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said(bench("download", "hf:owner/name"), 4, "could not be fetched", "Check the network")
    listed = bench("download", "hf:owner/name", "--list")
    assert listed.returncode == 0 and "missing" in listed.stdout
    said(bench("download", "hf:owner/name", "--offline"), 4, "--offline")


@pytest.mark.slow
def test_a_folder_of_transformers_comes_from_the_hub_in_parts(bench, hub, cache, tmp_path, no_sockets):
    transformers = pytest.importorskip("transformers")
    made = transformers.Dinov2Model(
        transformers.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28)
    )
    made.save_pretrained(tmp_path / "made", max_shard_size="60KB")
    files = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    assert sum(name.startswith("model-") for name in files) > 1
    files["preprocessor_config.json"] = json.dumps(
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5]}
    ).encode()
    hub.add("owner/dino", files, revision="v1", commit="c" * 40)
    said(bench("show", "hf:owner/dino@v1"), 3, "not on this machine", "bench download hf:owner/dino@v1")
    assert bench("download", "hf:owner/dino@v1").returncode == 0
    no_sockets()
    found = model("hf:owner/dino@v1", cache)
    assert found.structure.mean == (0.1, 0.2, 0.3) and found.origin["commit"] == "c" * 40
    images = torch.rand(1, 3, 28, 28)
    with torch.inference_mode():
        expected = made.eval()(images).last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, (2, 2))
        assert torch.allclose(found.features("cpu")(images), expected, atol=1e-5)


# --- torchvision ---


@pytest.fixture
def resnet(web, cache):
    """torchvision's ResNet-18, whose published address is on the server."""
    from torchvision import models

    torch.manual_seed(6)
    stream = io.BytesIO()
    torch.save(models.resnet18().state_dict(), stream)
    data = stream.getvalue()
    name = f"resnet18-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    library = adapters.library_of("torchvision")
    subject = {"weights": ["resnet18", "IMAGENET1K_V1"], "torchvision": library.version()}
    told = {"url": web.url(f"/{name}"), "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]}
    known_weights.keep(cache, subject, told)
    web.table[f"/{name}"] = File(data)
    return name, data


@pytest.mark.slow
def test_weights_of_torchvision_are_held_to_the_hash_in_their_name(bench, web, cache, resnet, no_sockets):
    name, data = resnet
    text = "torchvision:resnet18@IMAGENET1K_V1"
    said(bench("run", "--model", text, "--protocol", "linear"), 3, f"`bench download {text}`")
    web.table[f"/{name}"] = File(data[:-10] + bytes(10))
    said(bench("download", text), 3, "its SHA-256 is", "published")
    web.table[f"/{name}"] = File(data)
    assert bench("download", text).returncode == 0
    assert Pins(cache).find(f"networks/{text}/{name}").sha256 == hashlib.sha256(data).hexdigest()
    no_sockets()
    found = model(text, cache)
    assert found.structure.mean == (0.1, 0.2, 0.3)
    assert found.features("cpu")(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)


# --- torch.hub ---

HUBCONF = """
import torch
from parts import Net

def net(pretrained=True, width=4):
    made = Net(width)
    if pretrained:
        made.load_state_dict(torch.hub.load_state_dict_from_url(URL, map_location="cpu", file_name="net.pth"))
    return made
"""
PARTS = """
import torch

class Net(torch.nn.Sequential):
    def __init__(self, width):
        super().__init__(torch.nn.Conv2d(3, width, 4, stride=4))
"""


@pytest.fixture
def github(web, monkeypatch, cache):
    """A repository `owner/repo` on the server, its branch `main`, and the weights of its entry."""
    from bench.networks.libraries import hub_models

    monkeypatch.setattr(hub_models, "GITHUB", web.base)
    stream, weights = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("owner-repo-abc/hubconf.py", HUBCONF.replace("URL", repr(web.url("/net.pth"))))
        archive.writestr("owner-repo-abc/parts.py", PARTS)
    torch.manual_seed(7)
    made = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4, stride=4))
    torch.save(made.state_dict(), weights)
    web.table["/owner/repo/zipball/main"] = File(stream.getvalue(), kind="application/zip")
    web.table["/net.pth"] = File(weights.getvalue())
    return made


@pytest.mark.slow
def test_an_entry_of_a_hub_runs_only_where_its_code_is_trusted(bench, web, cache, github, no_sockets):
    text = "hub:owner/repo:main:net"
    said(bench("download", text), 3, "needs code of", "--trust-code")
    assert not web.requests
    done = bench("download", text, "--trust-code")
    assert done.returncode == 0 and "net.pth: fetched" in done.stdout, done.stderr
    no_sockets()
    said(bench("show", text), 3, "--trust-code")
    with pytest.raises(BadInput, match="needs code of"):
        model(text, cache)
    found = model(text, cache, trust_code=True)
    assert found.origin["trusted_code"] is True and len(found.origin["code_sha256"]) == 64 and found.cacheable
    images = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(found.features("cpu")(images), github(images))
    wider = "hub:owner/repo:main:net?width=8"
    with pytest.raises(BadInput, match=r"failed.*: RuntimeError"):
        _ = model(wider, cache, trust_code=True).weights_sha256
    drawn = model(f"{wider}&pretrained=false&random=0", cache, trust_code=True)
    assert drawn.features("cpu")(images).shape == (1, 8, 4, 4)


@pytest.mark.slow
def test_what_an_entry_lacks_during_a_run_is_named(bench, web, cache, github):
    text = "hub:owner/repo:main:net"
    assert bench("download", text, "--trust-code").returncode == 0
    (cache / "libraries" / "hub" / "checkpoints" / "net.pth").unlink()
    with pytest.raises(BadInput, match="not on this machine") as told:
        model(text, cache, trust_code=True)
    assert f"bench download {text}" in told.value.remedy
    assert bench("download", text, "--trust-code").returncode == 0
    assert model(text, cache, trust_code=True).features_are()
    with pytest.raises(Exception, match="has no entry 'nte'"):
        model("hub:owner/repo:main:nte", cache, trust_code=True)
