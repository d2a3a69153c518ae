"""Names of output layers and of the modules that hold them."""

import re

from torch import nn

from steadydecay.groups.places import class_names

OUTPUT_MODULE_NAMES = {"lm_head", "head", "classifier", "output", "fc_out", "score", "fc", "unembed", "unembedding"}
# Names that hidden layers have as well: such a layer is the output only if no later layer reads its output.
WEAK_NAME = re.compile(
    r"output|fc|summary|final_layer|(last|final|post|out)_?conv|conv_?(last|final|post|out)|outc|readout"
)
HEAD_NAME = re.compile(
    r"(\w+_)?(heads?|classifiers?|logits|predictor|predictions?)|logits_\w+|head_\w+"
    r"|(\w+_)?(qa_outputs|embed_out|output_layer|output_projection|last_linear|class_embed|bbox_embed)"
    r"|(\w+_)?un_?embed(ding)?|W_U"
)
NO_HEAD_NAME = re.compile(r"pre_\w+|\w*(attn|attention|pool|proj|projection)\w*_heads?")
# Losses that hold the weights of the classes themselves, and adaptive softmaxes.
HEAD_CLASS = re.compile(
    r"Adaptive(Log)?Softmax\w*|ProjectedAdaptive\w*|(Arc|Cos|Sphere|Ada|Mag|Curricular|ElasticArc|ElasticCos)Face\w*"
    r"|\w*(ArcMargin|AddMargin|AngularMargin|CosineMargin|LargeMargin|AMSoftmax|NormSoftmax|ProxyAnchor|ProxyNCA)\w*"
    r"|(LM|Cls|Classification|Classifier|Regression|Prediction|Output|Policy|Value|Unembed)(Head|ding)?"
)


def is_head_name(name: str) -> bool:
    """Return whether this is a name of output layers, or of modules that hold them, and hardly ever of other layers.

    >>> [is_head_name(name) for name in ("to_logits", "classifier", "fc", "pre_classifier")]
    [True, True, False, False]
    """
    is_head = HEAD_NAME.fullmatch(name) or (name in OUTPUT_MODULE_NAMES and not is_weak_name(name))
    return bool(is_head) and not NO_HEAD_NAME.fullmatch(name)


def is_weak_name(name: str) -> bool:
    """Return whether both output layers and hidden layers have this name."""
    return WEAK_NAME.fullmatch(name) is not None


def is_head_class(module: nn.Module) -> bool:
    """Return whether a module is an output by its class: margins over classes, adaptive softmaxes, heads."""
    return any(HEAD_CLASS.fullmatch(name) for name in class_names(module))
