"""What is read of modules of other libraries: the right layer, in the right shape, or one clear line."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from bench.base.errors import BadInput, BenchError, WrongName
from bench.networks.reading.layers import parse
from bench.networks.reading.reader import reader_of
from bench.passes.features import feature_map

WIDE = (64, 96)


@pytest.fixture(autouse=True)
def _without_gradients():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def images(size=WIDE):
    return torch.randn(2, 3, *size)


def read(module, name, given):
    found = reader_of(module.eval()).read(parse(name))(given)
    return feature_map(found, given)


def as_map(tokens, before, rows, columns):
    batch, _, width = tokens.shape
    return tokens[:, before:].reshape(batch, rows, columns, width).permute(0, 3, 1, 2)


def same(found, expected):
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def differ(one, other):
    return one.shape != other.shape or not torch.allclose(one, other, atol=1e-4)


def refused(kind, module, name, given, *said):
    with pytest.raises(kind) as caught:
        read(module, name, given)
    for part in said:
        assert part in str(caught.value)
    assert caught.value.remedy and "\n" not in caught.value.problem


# --- timm ---


def shaken(module):
    """With other weights in norms, biases and scales, whose first values make layers look alike."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


TIMM_VITS = {
    "patch 16": ("vit_tiny_patch16_224", 16, {"img_size": 64, "dynamic_img_size": True}),
    "patch 14, registers": ("vit_small_patch14_reg4_dinov2", 14, {"img_size": 56, "dynamic_img_size": True}),
    "patch 14": ("vit_small_patch14_dinov2", 14, {"img_size": 56, "dynamic_img_size": True}),
    "rotary": ("vit_small_patch16_dinov3", 16, {}),
    "EVA-02": ("eva02_tiny_patch14_224", 14, {"img_size": (56, 84)}),
}


@pytest.mark.parametrize(("name", "patch", "options"), TIMM_VITS.values(), ids=TIMM_VITS)
def test_timm_transformer(name, patch, options):
    timm = pytest.importorskip("timm")
    model = shaken(timm.create_model(name, depth=3, **options))
    given = images((4 * patch, 6 * patch))
    tokens = model.num_prefix_tokens
    every = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, inputs, output: every.append(output))
    final = model.forward_features(given)
    raw = list(every)
    same(read(model, "last", given), as_map(final, tokens, 4, 6))
    normed = [as_map(model.norm(one), tokens, 4, 6) for one in raw]
    same(read(model, "last2", given), torch.cat(normed[1:], dim=1))
    same(read(model, "block2", given), as_map(raw[1], tokens, 4, 6))
    same(read(model, "block2+norm", given), normed[1])
    kinds = [read(model, kind, given) for kind in ("query", "key", "value")]
    assert {one.shape for one in kinds} == {normed[0].shape}
    assert differ(kinds[0], kinds[1]) and differ(kinds[1], kinds[2])
    same(read(model, "key3", given), kinds[1])
    assert differ(read(model, "key1", given), kinds[1])
    structure = reader_of(model).structure
    assert (structure.patch, structure.depth, structure.tokens, structure.width) == (patch, 3, tokens, final.shape[-1])
    assert structure.mean and structure.std
    assert structure.grid == (None if name.endswith("dinov3") else (4, 6) if "eva" in name else (4, 4))
    refused(WrongName, model, "block4", given, "no layer 'block4'", "block1 to block3")
    refused(WrongName, model, "stage1", given, "no layer 'stage1'")


def test_timm_keys_are_those_of_the_attention():
    timm = pytest.importorskip("timm")
    model = shaken(timm.create_model("vit_tiny_patch16_224", depth=2, img_size=64))
    given = images((64, 64))
    inputs = []
    model.blocks[1].attn.register_forward_hook(lambda _, taken, output: inputs.append(taken[0]))
    model(given)
    queries, keys, values = model.blocks[1].attn.qkv(inputs[0]).split(192, dim=-1)
    for name, expected in (("query", queries), ("key", keys), ("value", values)):
        same(read(model, name, given), as_map(expected, 1, 4, 4))


@pytest.mark.slow
def test_timm_keys_of_an_attention_that_keeps_its_biases_apart():
    timm = pytest.importorskip("timm")
    model = shaken(timm.create_model("beit_base_patch16_224", depth=1, img_size=64, embed_dim=48, num_heads=3))
    given = images((64, 64))
    attention = model.blocks[0].attn
    inputs = []
    attention.register_forward_hook(lambda _, taken, output: inputs.append(taken[0]))
    model(given)
    values = inputs[0] @ attention.qkv.weight[96:].T + attention.v_bias
    same(read(model, "value", given), as_map(values, 1, 4, 4))


TIMM_PYRAMIDS = {
    "ConvNeXt": ("convnext_atto", {}, 4, lambda model, x: model.forward_features(x)),
    "Swin": (
        "swin_tiny_patch4_window7_224",
        {"strict_img_size": False, "embed_dim": 24, "depths": (1, 1, 1, 1)},
        4,
        lambda model, x: model.forward_features(x).permute(0, 3, 1, 2),
    ),
    "ResNet-50": ("resnet50", {}, 4, lambda model, x: model.forward_features(x)),
    "EfficientNet-lite0": ("efficientnet_lite0", {}, 5, lambda model, x: model.blocks(model.bn1(model.conv_stem(x)))),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "stages", "last"), TIMM_PYRAMIDS.values(), ids=TIMM_PYRAMIDS)
def test_timm_stages(name, options, stages, last):
    timm = pytest.importorskip("timm")
    model, given = timm.create_model(name, **options).eval(), images()
    expected = last(model, given)
    same(read(model, "last", given), expected)
    structure = reader_of(model).structure
    assert (structure.stages, structure.depth, structure.width) == (stages, None, expected.shape[1])
    strides = [64 / read(model, f"stage{stage}", given).shape[2] for stage in range(1, stages + 1)]
    assert strides == [2.0**power for power in range(6 - stages, 6)]
    refused(WrongName, model, f"stage{stages + 1}", given, f"stage1 to stage{stages}")
    refused(WrongName, model, "key", given, "no layer 'key'")


@pytest.mark.slow
def test_timm_lists_of_features():
    timm = pytest.importorskip("timm")
    whole = timm.create_model("resnet18").eval()
    model = timm.create_model("resnet18", features_only=True).eval()
    model.load_state_dict(whole.state_dict(), strict=False)
    given = images()
    same(read(model, "last", given), whole.forward_features(given))
    same(read(model, "stage2", given), read(whole, "stage2", given))
    same(read(model, "output3", given), read(whole, "stage2", given))
    refused(WrongName, model, "stage5", given, "output1 to output5")
    two = timm.create_model("resnet18", features_only=True, out_indices=(2, 3))
    assert read(two, "last", given).shape[1] == 256
    refused(WrongName, two, "stage1", given, "stage2, stage3")
    vit = timm.create_model("vit_tiny_patch16_224", features_only=True, img_size=WIDE, depth=3).eval()
    same(read(vit, "last", given), vit(given)[-1])
    small = {"embed_dim": 24, "depths": (1, 1, 1, 1)}
    swin = timm.create_model("swin_tiny_patch4_window7_224", features_only=True, img_size=WIDE, **small)
    assert read(swin, "last", given).shape == (2, 192, 2, 3)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_timm_model_of_one_size(name):
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, **({"depth": 1} if "vit" in name else {"embed_dim": 24, "depths": (1, 1, 1, 1)}))
    assert reader_of(model).structure.size == (224, 224)
    refused(BadInput, model, "last", images(), "only takes images of 224×224", "not 64×96", "dynamic_img_size=True")


def test_an_input_that_is_no_multiple_of_the_patch():
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", depth=1, dynamic_img_size=True)
    refused(BadInput, model, "last", images((60, 90)), "60×90", "16×16 patches", "Set the input to 64×96")


# --- torchvision ---

TORCHVISION = {
    "resnet50": lambda model, x: model.layer4(model.layer3(model.layer2(model.layer1(stem(model, x))))),
    "swin_t": lambda model, x: model.norm(model.features(x)).permute(0, 3, 1, 2),
    "vgg11": lambda model, x: model.features(x),
    "densenet121": lambda model, x: model.features(x),
    "convnext_tiny": lambda model, x: model.features(x),
    "efficientnet_b0": lambda model, x: model.features(x),
    "mobilenet_v2": lambda model, x: model.features(x),
    "mobilenet_v3_small": lambda model, x: model.features(x),
}


def stem(model, given):
    return model.maxpool(model.relu(model.bn1(model.conv1(given))))


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name):
    models = pytest.importorskip("torchvision").models
    model, given = getattr(models, name)().eval(), images()
    expected = TORCHVISION[name](model, given)
    assert expected.shape[-2:] == (2, 3)
    same(read(model, "last", given), expected)
    stages = reader_of(model).structure.stages
    sides = [read(model, f"stage{stage}", given).shape[2] for stage in range(1, stages + 1)]
    assert sides == [64 >> power for power in range(6 - stages, 6)]
    refused(WrongName, model, f"stage{stages + 1}", given, f"stage1 to stage{stages}")


def test_torchvision_transformer():
    models = pytest.importorskip("torchvision").models
    model = shaken(models.VisionTransformer(64, 16, 3, 3, 48, 96))
    given = images((64, 64))
    every, normed_inputs = [], []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda _, inputs, output: every.append(output))
    last_layer = model.encoder.layers[-1]
    last_layer.ln_1.register_forward_hook(lambda _, inputs, output: normed_inputs.append(output))
    model(given)
    raw, entering = list(every), normed_inputs[0]
    normed = [as_map(model.encoder.ln(one), 1, 4, 4) for one in raw]
    same(read(model, "last", given), normed[2])
    same(read(model, "last3", given), torch.cat(normed, dim=1))
    same(read(model, "block1", given), as_map(raw[0], 1, 4, 4))
    weight, bias = last_layer.self_attention.in_proj_weight, last_layer.self_attention.in_proj_bias
    same(read(model, "key", given), as_map(entering @ weight[48:96].T + bias[48:96], 1, 4, 4))
    assert differ(read(model, "key1", given), read(model, "key3", given))
    assert reader_of(model).structure.size == (64, 64)
    refused(BadInput, model, "last", images(), "only takes images of 64×64", "interpolate_embeddings")


# --- transformers ---

TINY = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 28, "patch_size": 14}
BLOCKS = {
    "Dinov2": ("Dinov2Config", "Dinov2Model", {}, lambda model: model.encoder.layer, 1),
    "Dinov2WithRegisters": (
        "Dinov2WithRegistersConfig",
        "Dinov2WithRegistersModel",
        {"num_register_tokens": 4},
        lambda model: model.encoder.layer,
        5,
    ),
    "ViT": ("ViTConfig", "ViTModel", {"intermediate_size": 96}, lambda model: model.layers, 1),
    "ViTMAE": ("ViTMAEConfig", "ViTMAEModel", {"intermediate_size": 96}, None, 1),
    "CLIP": ("CLIPVisionConfig", "CLIPVisionModel", {"intermediate_size": 96}, None, 1),
    "DINOv3": ("DINOv3ViTConfig", "DINOv3ViTModel", {"intermediate_size": 96, "num_register_tokens": 4}, None, 5),
}


@pytest.mark.parametrize(("config", "kind", "options", "blocks", "tokens"), BLOCKS.values(), ids=BLOCKS)
def test_transformers_blocks(config, kind, options, blocks, tokens):
    transformers = pytest.importorskip("transformers")
    model = shaken(getattr(transformers, kind)(getattr(transformers, config)(**TINY, **options)))
    given = images((56, 84))
    structure = reader_of(model).structure
    assert (structure.patch, structure.depth, structure.tokens, structure.width) == (14, 3, tokens, 48)
    last, value = read(model, "last", given), read(model, "value", given)
    assert last.shape == value.shape == (2, 48, 4, 6)
    same(read(model, "block3+norm", given), last)
    same(read(model, "last2", given)[:, 48:], last)
    same(read(model, "value3", given), value)
    assert differ(read(model, "key", given), value)
    assert differ(read(model, "block3", given), last)
    same(read(model, "last", given), last)
    if blocks is not None:
        found = []
        layers = blocks(model)
        for layer in layers:
            layer.register_forward_hook(lambda _, inputs, output: found.append(output))
        more = {"interpolate_pos_encoding": True} if kind == "ViTModel" else {}
        output = model(given, **more).last_hidden_state
        raw = [one[0] if isinstance(one, tuple) else one for one in found]
        same(last, as_map(output, tokens, 4, 6))
        same(read(model, "block1", given), as_map(raw[0], tokens, 4, 6))
        same(read(model, "block1+norm", given), as_map(model.layernorm(raw[0]), tokens, 4, 6))


def test_masked_autoencoders_of_transformers_see_every_patch_in_its_place():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTMAEConfig(**TINY, intermediate_size=96)
    model = transformers.ViTMAEForPreTraining(config).eval()
    given = images((28, 28))
    first = read(model, "last", given)
    same(read(model, "last", given), first)
    vit = transformers.ViTModel(transformers.ViTConfig(**TINY, intermediate_size=96), add_pooling_layer=False).eval()
    state = {key: value for key, value in model.vit.state_dict().items() if "mask_token" not in key}
    vit.load_state_dict(state)
    same(first, read(vit, "last", given))
    assert model.config.mask_ratio == 0.75


def test_transformers_pyramids():
    transformers = pytest.importorskip("transformers")
    given, sizes = images(), {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    resnet = transformers.ResNetModel(transformers.ResNetConfig(embedding_size=8, **sizes)).eval()
    output = resnet(given, output_hidden_states=True)
    same(read(resnet, "last", given), output.last_hidden_state)
    same(read(resnet, "stage2", given), output.hidden_states[2])
    refused(WrongName, resnet, "stage5", given, "stage1 to stage4")
    options = {"embed_dim": 12, "depths": [1, 1, 1], "num_heads": [1, 2, 4], "window_size": 4, "image_size": 64}
    swin = transformers.SwinModel(transformers.SwinConfig(**options)).eval()
    same(read(swin, "last", given), as_map(swin(given).last_hidden_state, 0, 4, 6))
    shapes = [tuple(read(swin, f"stage{stage}", given).shape[1:]) for stage in (1, 2, 3)]
    assert shapes == [(12, 16, 24), (24, 8, 12), (48, 4, 6)]
    config = transformers.ResNetConfig(embedding_size=8, **sizes, out_features=["stage2", "stage4"])
    backbone = transformers.ResNetBackbone(config).eval()
    maps = backbone(given).feature_maps
    for name, expected in (("last", maps[1]), ("stage2", maps[0]), ("output1", maps[0])):
        same(read(backbone, name, given), expected)
    refused(WrongName, backbone, "stage3", given, "stage2, stage4")


def test_transformers_heads_are_left_out():
    transformers = pytest.importorskip("transformers")
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**TINY, intermediate_size=96)).eval()
    given = images((28, 28))
    same(read(model, "last", given), read(model.vit, "last", given))


def test_models_that_read_no_images_are_refused():
    transformers = pytest.importorskip("transformers")
    text = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 48}
    bert = transformers.BertModel(transformers.BertConfig(**text, vocab_size=50))
    refused(WrongName, bert, "last", images(), "BertModel is a model of text")
    config = transformers.CLIPConfig(
        text_config={**text, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**TINY, "intermediate_size": 96},
    )
    clip = transformers.CLIPModel(config)
    refused(WrongName, clip, "last", images((28, 28)), "images and text", "model.vision_model")
    assert read(clip.vision_model, "last", images((28, 28))).shape == (2, 48, 2, 2)
    yolos = transformers.YolosModel(transformers.YolosConfig(**{**TINY, "image_size": [28, 28]}, intermediate_size=96))
    refused(BadInput, yolos, "last", images((28, 28)), "2×105×48", "1 + 2×2 tokens")


# --- the same weights through two libraries ---


def test_dinov2_of_timm_and_of_transformers():
    timm, transformers = pytest.importorskip("timm"), pytest.importorskip("transformers")
    config = transformers.Dinov2Config(**{**TINY, "image_size": 56})
    theirs = shaken(transformers.Dinov2Model(config))
    ours = timm.create_model(
        "vit_small_patch14_dinov2", img_size=56, embed_dim=48, depth=3, num_heads=3, dynamic_img_size=True
    ).eval()
    ours.load_state_dict(timm_names(theirs.state_dict()))
    given = images((56, 56))
    for name in ("last", "last2", "block1", "block2+norm", "key", "query1", "value"):
        torch.testing.assert_close(read(ours, name, given), read(theirs, name, given), rtol=1e-4, atol=1e-4)


def timm_names(state):
    """The names that timm has for the weights of transformers' DINOv2."""
    found = {
        "cls_token": state["embeddings.cls_token"],
        "pos_embed": state["embeddings.position_embeddings"],
        "norm.weight": state["layernorm.weight"],
        "norm.bias": state["layernorm.bias"],
    }
    for kind in ("weight", "bias"):
        found[f"patch_embed.proj.{kind}"] = state[f"embeddings.patch_embeddings.projection.{kind}"]
    for block in range(3):
        old, new = f"encoder.layer.{block}", f"blocks.{block}"
        for scale in (1, 2):
            found[f"{new}.ls{scale}.gamma"] = state[f"{old}.layer_scale{scale}.lambda1"]
        for kind in ("weight", "bias"):
            parts = [state[f"{old}.attention.{part}_proj.{kind}"] for part in "qkv"]
            found[f"{new}.attn.qkv.{kind}"] = torch.cat(parts)
            found[f"{new}.attn.proj.{kind}"] = state[f"{old}.attention.o_proj.{kind}"]
            for layer in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                found[f"{new}.{layer}.{kind}"] = state[f"{old}.{layer}.{kind}"]
    return found


@pytest.mark.slow
def test_resnet_50_of_timm_and_of_torchvision():
    timm, torchvision = pytest.importorskip("timm"), pytest.importorskip("torchvision")
    theirs = torchvision.models.resnet50().eval()
    ours = timm.create_model("resnet50").eval()
    ours.load_state_dict(theirs.state_dict())
    given = images()
    for name in ("last", "stage1", "stage3"):
        torch.testing.assert_close(read(ours, name, given), read(theirs, name, given), rtol=1e-4, atol=1e-4)


# --- DINO's kind ---


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(12, 36)

    def forward(self, tokens):
        query, key, value = self.qkv(tokens).chunk(3, -1)
        return (query @ key.transpose(1, 2)).softmax(-1) @ value


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = Attention()

    def forward(self, tokens):
        return tokens + self.attn(tokens)


class Dino(nn.Module):
    """As DINO's: tokens with the class token, after the norm, of the last n blocks."""

    registers = 0

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.patch_size = 8
        self.embed = nn.Conv2d(3, 12, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1 + self.registers, 12))
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.norm = nn.LayerNorm(12)
        self.embed_dim = 12

    def outputs(self, given):
        tokens = self.embed(given).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(given), -1, -1), tokens], dim=1)
        found = []
        for block in self.blocks:
            tokens = block(tokens)
            found.append(tokens)
        return found

    def forward(self, given):
        return self.norm(self.outputs(given)[-1])[:, 0]

    def get_intermediate_layers(self, x, n=1):
        return [self.norm(one) for one in self.outputs(x)[-n:]]


class Dinov2(Dino):
    """As DINOv2's: blocks by their places, reshaped, with or without the norm."""

    registers = num_register_tokens = 2

    def get_intermediate_layers(self, x, n=1, reshape=False, return_class_token=False, norm=True):
        every = self.outputs(x)
        taken = every[-n:] if isinstance(n, int) else [every[place] for place in n]
        return tuple((self.norm(one) if norm else one)[:, 3:] for one in taken)


@pytest.mark.parametrize("kind", [Dino, Dinov2])
def test_modules_of_dinos_kind(kind):
    model, given = kind().eval(), images()
    before = 1 + kind.registers
    raw = [as_map(one, before, 8, 12) for one in model.outputs(given)]
    normed = [as_map(model.norm(one), before, 8, 12) for one in model.outputs(given)]
    same(read(model, "last", given), normed[2])
    same(read(model, "last2", given), torch.cat(normed[1:], dim=1))
    same(read(model, "block1", given), raw[0])
    same(read(model, "block2+norm", given), normed[1])
    entering = model.outputs(given)[1]
    same(read(model, "key", given), as_map(model.blocks[2].attn.qkv(entering)[..., 12:24], before, 8, 12))
    refused(WrongName, model, "block4", given, "block1 to block3")
    refused(BadInput, model, "last", images((60, 96)), "8×8 patches")


# --- any other module ---


class Plain(nn.Module):
    """Returns what it is given to return; its other attributes are not to count."""

    def __init__(self, returned=lambda found: found):
        super().__init__()
        self.body = nn.Conv2d(3, 5, 4, 4)
        self.features = nn.Conv2d(3, 7, 8, 8)
        self.unused = nn.Conv2d(3, 7, 8, 8)
        self.returned = returned

    def forward(self, given):
        return self.returned(self.body(given))

    def halves(self, given):
        return self.body(given) / 2


def test_what_forward_returns_counts():
    given = images()
    model = Plain()
    same(read(model, "last", given), model.body(given))
    for returned in (
        lambda found: (found, found[:, 0]),
        lambda found: [found, found[:, :1]],
        lambda found: {"only": found},
    ):
        assert read(Plain(returned), "last", given).shape == (2, 5, 16, 24)


def test_one_of_several_outputs_is_named():
    given = images()
    pair = Plain(lambda found: (found, found[:, :3, ::2, ::2]))
    refused(BadInput, pair, "last", given, "2 things", "2×5×16×24", "2×3×8×12", "features='output2'")
    assert read(pair, "output2", given).shape == (2, 3, 8, 12)
    refused(WrongName, pair, "output3", given, "returns 2 things")
    named = Plain(lambda found: OrderedDict(out=found, aux=found[:, :1]))
    refused(BadInput, named, "last", given, "output.out", "output.aux")
    assert read(named, "output.aux", given).shape[1] == 1
    assert read(named, "output2", given).shape[1] == 1
    refused(WrongName, named, "output.other", given, "output.out, output.aux")


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda found: found.flatten(2).transpose(1, 2), ("2×384×5", "tokens")),
        (lambda found: found.mean((2, 3)), ("2×5", "a vector for each image")),
        (lambda found: None, ("NoneType",)),
        (lambda found: "nonsense", ("a str",)),
        (lambda found: [], ("a list",)),
    ],
)
def test_outputs_that_are_no_map_are_refused(returned, said):
    refused(BadInput, Plain(returned), "last", images(), *said)


def test_paths_name_submodules_and_methods():
    model, given = Plain(lambda found: found.mean()), images()
    same(read(model, "body", given), model.body(given))
    same(read(model, "halves", given), model.body(given) / 2)
    refused(WrongName, model, "boddy", given, "no layer 'boddy'", "Did you mean body?")
    refused(BadInput, model, "unused", given, "is not called")
    for name in ("cpu", "half", "_apply", "body.weight", "body.zero_grad", "returned.__globals__"):
        refused(WrongName, model, name, given, f"no layer '{name}'")
    assert next(model.parameters()).dtype == torch.float32


def test_a_subclass_with_a_forward_of_its_own_is_read_by_it():
    models = pytest.importorskip("torchvision").models

    class Own(models.ResNet):
        def forward(self, given):
            return self.conv1(given)

    model, given = Own(models.resnet.BasicBlock, [1, 1, 1, 1]).eval(), images()
    same(read(model, "last", given), model.conv1(given))
    same(read(model, "conv1", given), model.conv1(given))


class PassesOn(nn.Module):
    """A wrapper with a `forward` of its own, that passes on whatever else it is asked for."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, given):
        return given * 2


def _with_a_forward_of_its_own(model):
    class Own(type(model)):
        def forward(self, given):
            return given * 2

    model.__class__ = Own
    return model


def _timm_vit():
    return pytest.importorskip("timm").create_model("test_vit", num_classes=0, dynamic_img_size=True).eval()


def _transformers_vit():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    return transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **sizes)).eval()


@pytest.mark.parametrize("made", [Dino, Dinov2, _timm_vit, _transformers_vit])
@pytest.mark.parametrize("change", [PassesOn, _with_a_forward_of_its_own])
def test_a_forward_around_a_known_network_is_what_is_read(made, change):
    given = images()
    same(read(change(made().eval()), "last", given), given * 2)


def test_a_forward_that_was_put_in_place_of_a_known_one_is_what_is_read():
    model, given = Dino().eval(), images()
    model.forward = lambda given: given * 2
    same(read(model, "last", given), given * 2)


def test_a_wrapped_module_is_read_as_the_one_inside():
    model, given = Dino().eval(), images()
    same(read(nn.DataParallel(model), "last", given), read(model, "last", given))


# --- shapes ---


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ((60, 80), (8, 10)),
        ((480, 854), (60, 107)),
        ((480, 854), (34, 61)),
        ((512, 512), (36, 36)),
        ((65, 129), (3, 5)),
        ((32, 32), (1, 1)),
        ((32, 48), (64, 96)),
        ((224, 224), (224, 224)),
    ],
)
def test_shapes_of_one_stride_are_features(given, found):
    features = torch.zeros(2, 4, *found)
    assert feature_map(features, images(given)) is features


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ((224, 224), (2, 7, 7, 768)),
        ((224, 224), (2, 56, 56, 96)),
        ((512, 512), (2, 64, 64, 96)),
        ((480, 856), (2, 15, 27, 768)),
        ((64, 96), (2, 8, 8, 8)),
        ((224, 224), (2, 2048, 1, 1)),
        ((64, 64), (1, 5, 8, 8)),
        ((64, 64), (2, 5, 0, 8)),
        ((64, 64), (2, 5, 8)),
    ],
)
def test_shapes_of_no_stride_are_refused(given, shape):
    with pytest.raises(BadInput) as caught:
        feature_map(torch.zeros(shape), images(given))
    assert str(shape) in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize("kind", [torch.complex64, torch.int64, torch.bool])
def test_features_are_floating_point(kind):
    with pytest.raises(BenchError, match="not floating point"):
        feature_map(torch.zeros(2, 4, 8, 8, dtype=kind), images((64, 64)))
