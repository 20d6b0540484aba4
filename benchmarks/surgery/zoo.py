"""The models, each at the smallest image that makes sense of it, so that the zoo takes minutes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torchvision

LIMIT = 150e6  # parameters of a classification model
Source = Literal["classification", "segmentation", "detection", "timm"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model with random weights.

    Args:
        source: The library, and of torchvision the task.
        name: What the library calls it.
        size: Height and width of the first images, in pixels.
        options: Arguments of its constructor.
        onnx: Whether the pruned model is exported to ONNX as well.
    """

    source: Source
    name: str
    size: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    onnx: bool = False

    @property
    def title(self) -> str:
        """Name that is unique in the zoo and fit for a file."""
        return f"{self.source}.{self.name}"


_SIZES = {"inception_v3": 299, "maxvit_t": 224}
_NO_SLOW_START = {"init_weights": False}
_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": _NO_SLOW_START,
    "inception_v3": _NO_SLOW_START,
    "vit_b_16": {"image_size": 64},
    "vit_b_32": {"image_size": 64},
}
_SEGMENTATION = (
    "fcn_resnet50",
    "deeplabv3_resnet50",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
# A threshold of zero keeps boxes although the weights are random: without any there is nothing
# to compare.
_SMALL = {"min_size": 96, "max_size": 160}
_FEW = {"box_score_thresh": 0.0, "box_detections_per_img": 8, "rpn_post_nms_top_n_test": 30}
_DETECTION: dict[str, dict[str, Any]] = {
    "ssdlite320_mobilenet_v3_large": {"score_thresh": 0.0},
    "ssd300_vgg16": {"score_thresh": 0.0},
    "retinanet_resnet50_fpn": {"score_thresh": 0.0, **_SMALL},
    "fcos_resnet50_fpn": {"score_thresh": 0.0, **_SMALL},
    "fasterrcnn_mobilenet_v3_large_320_fpn": {**_FEW, **_SMALL},
    "maskrcnn_resnet50_fpn": {**_FEW, **_SMALL},
}
_TIMM = """
resnet26d resnext26ts seresnext26d_32x4d resnetv2_50 res2net50_26w_4s resnest14d skresnet18
densenetblur121d dla34 hrnet_w18_small efficientnet_b0 tf_efficientnetv2_b0 mixnet_s mnasnet_small
fbnetc_100 ghostnet_050 lcnet_050 mobilenetv4_conv_small mobilenetv4_hybrid_medium_075
mobileone_s0 repvgg_a0 rexnet_100 regnetz_b16 ese_vovnet19b_dw dpn48b legacy_xception
inception_next_atto cspdarknet53 darknet17 nf_regnet_b0 eca_nfnet_l0 convnext_atto
convnextv2_atto convmixer_768_32 poolformer_s12 pvt_v2_b0 xcit_nano_12_p16_224 mobilevit_xxs
edgenext_xx_small efficientvit_b0 fastvit_t8 twins_svt_small tiny_vit_5m_224 hardcorenas_a
davit_tiny focalnet_tiny_srf caformer_s18 repvit_m0_9 starnet_s1 hgnet_tiny
""".split()
_TIMM_SIZED = """
mixer_s32_224 resmlp_12_224 gmlp_s16_224 vit_tiny_patch16_224 deit_tiny_distilled_patch16_224
cait_xxs24_224 swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 coatnet_nano_rw_224
maxvit_rmlp_pico_rw_256 levit_128s visformer_tiny volo_d1_224
""".split()
_TIMM_OTHER = (
    Model(source="timm", name="efficientformer_l1", size=224),
    Model(source="timm", name="gmlp_ti16_224", size=224),
    Model(source="timm", name="sequencer2d_s", size=224),
    Model(source="timm", name="beit_base_patch16_224", options={"img_size": 64, "depth": 3}),
)
_ONNX = {
    *("resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    *("efficientnet_b0", "mnasnet0_5", "shufflenet_v2_x0_5", "squeezenet1_1", "densenet121"),
    *("regnet_x_400mf", "regnet_y_400mf", "alexnet", "vgg11", "googlenet", "convnext_tiny"),
    *("swin_t", "vit_b_32", "resnext50_32x4d", "lraspp_mobilenet_v3_large"),
    *("deeplabv3_mobilenet_v3_large", "fcn_resnet50", "resnet26d", "lcnet_050", "repvgg_a0"),
    *("ghostnet_050", "rexnet_100", "mixnet_s", "convnext_atto", "starnet_s1", "hgnet_tiny"),
    *("vit_tiny_patch16_224", "mixer_s32_224", "poolformer_s12", "mobilevit_xxs", "dla34"),
}
_QUICK = {
    *("classification.resnet18", "classification.mobilenet_v3_small", "timm.vit_tiny_patch16_224"),
    *("classification.shufflenet_v2_x0_5", "segmentation.lraspp_mobilenet_v3_large"),
    *("detection.retinanet_resnet50_fpn", "timm.lcnet_050", "timm.convnext_atto"),
}


def zoo(*, quick: bool = False) -> list[Model]:
    """Return every model of the benchmark, or a few that stand for them."""
    models = [*_classifiers(), *_others()]
    return [model for model in models if not quick or model.title in _QUICK]


def _classifiers() -> Iterator[Model]:
    for name in torchvision.models.list_models(module=torchvision.models):
        weights = torchvision.models.get_model_weights(name)
        if weights.DEFAULT.meta["num_params"] < LIMIT:
            yield _model("classification", name, _OPTIONS.get(name, {}), _SIZES.get(name, 64))


def _others() -> Iterator[Model]:
    yield from (_model("segmentation", name) for name in _SEGMENTATION)
    yield from (_model("detection", name, options) for name, options in _DETECTION.items())
    yield from (_model("timm", name) for name in _TIMM)
    yield from (_model("timm", name, {"img_size": 64}) for name in _TIMM_SIZED)
    yield from _TIMM_OTHER


def _model(
    source: Source, name: str, options: Mapping[str, Any] | None = None, size: int = 64
) -> Model:
    return Model(source=source, name=name, size=size, options=options or {}, onnx=name in _ONNX)
