"""The part of docs/scaling.md about many GPUs; benchmarks/scaling_page.py writes it."""

from textwrap import fill
from unittest.mock import patch

import sharded_counts
import sharded_step
from parallel_cost import COSTED_MODELS, GPUS, SCHEME_GPUS, SCHEME_MODELS, Cluster, Row, row, schemes_table, tables

from steadydecay.polar import choice

TITLE = """\
# What a step of ScionC costs

Written by `python benchmarks/scaling_page.py`.
"""

ANSWERS = """\
## What does it cost me on N GPUs?

{answers}

All of it is computed, not measured: for GPUs that reach {tflops:.0f} TFLOP/s in half-precision products, and that
receive {between:.0f} GB/s from other nodes and {within:.0f} GB/s inside their node of {node}, about what an H100 does.
Each GPU has {tokens:,} tokens in a step, and latency is left out. For other clusters, see
`python benchmarks/parallel_cost.py --help`.

The formulas (`steadydecay.optim.batches.step_cost`) ask the functions of the step which rank owns which matrix and what
it holds of it. `tests/optim/batches/test_step_cost.py` holds bytes, products and state against counted collectives of
four real processes, and temporaries against a profile.

### Where the exchange hides

The step runs after the backward pass. While an owner multiplies one bucket, the next is on its way. Of b buckets the
first has to come before there is anything to multiply, and the last has to go back: about a b-th of the exchange never
hides. The rest hides while **exchange, ms** is less than **LMO, ms**.
{hidden}
Where there is one bucket, the whole exchange is added to the step; where the exchange takes longer than the products,
the difference is. The last column says from how many tokens of a GPU on the backward pass takes as long as the exchange
and could hide it, if both ran side by side. Today they do not, and with fewer tokens not even that would hide it.

### By model, strategy and GPUs

Of the busiest GPU, with float32 weights, gradients and momentum, and five steps of the iteration in its plain form; the
embedding and the output take the sign.

- **held, GB**: weights, gradients and momentum; "too much" is more than {memory:.0f} GB.
- **state, GB**, **temporaries, GB**: momentum; and what the step takes beside all of it at one time.
- **moved, GB**: what the GPU sends or receives in the step, the larger of both.
- **buckets**: each is exchanged by two all-to-alls.
- **LMO, TFLOP** and **÷ even**: products of the busiest GPU, and these ÷ an N-th of all.
- **hidden from, tokens**: tokens of a GPU whose backward pass takes as long as the exchange.
"""

SCHEMES = """\
### What other schemes would take

By the same formulas, for the hidden matrices under FSDP2 (Canzona and Megatron: under their own data parallelism), and
beyond what the strategy moves in any case: reduced gradients and gathered weights. Five steps of the iteration for all.

- **torchtitan DistributedMuon** ([pull request 4060](https://github.com/pytorch/torchtitan/pull/4060)): owners, the
  longest first, and one packed all-to-all each way in the dtype of the stored weights. ScionC does the same, but its
  updates come back in the half precision of the products. Heads, which torchtitan orthogonalises one by one, are not
  counted apart.
- **Muon of the dion package** ([microsoft/dion](https://github.com/microsoft/dion), `dion/muon.py`): as many matrices
  of one shape at a time as there are ranks, filled up where there are fewer, in bfloat16 both ways.
- **Canzona** ([arXiv 2602.06079](https://arxiv.org/abs/2602.06079)), its data parallelism: gradients are reduced to
  whole matrices at their owners in the first place, so that the step itself moves nothing. It needs a data parallelism
  whose shards end at matrices, and its owners keep whole momenta. Its tensor parallelism, which exchanges, is not
  counted.
- **Megatron layer-wise** ([its documentation](https://docs.nvidia.com/megatron-core/developer-guide/latest/apidocs/core/core.optimizer.layer_wise_optimizer.html)):
  whole gradients are all-reduced where others reduce-scatter them, which is counted here as that difference in float32;
  moved weights are gathered as ZeRO-1 does in any case.
- **owners, bfloat16 both ways**: what ScionC would take if momentum and update travelled in bfloat16.
- **whole gathers**: each rank gathers every matrix in bfloat16 and orthogonalises it.
"""

COUNTED = """\
### Counted in real processes

`{command}`, {date}; {software}; {place}. gpt2-small's shapes under gloo. {layers} of its layers, with embedding and
output, {was} stepped; where what was counted for ScionC is not what the formulas say, byte for byte and product for
product, it is listed below the table. The table is for all 12 layers: by the formulas for ScionC, and in proportion for
torch.optim.Muon, which steps its matrices one by one (AdamW has the rest). An all-reduce counts as the 2(N-1)/N of its
bytes that a ring brings to each rank, a reduce-scatter as (N-1)/N. Under FSDP2 torch.optim.Muon leaves its products to
DTensor, which shares them and exchanges operands; where it wants an all-to-all, it takes an all-gather on a CPU, so
that fewer bytes would come on GPUs.

- **÷ even**: the busiest rank's ÷ an N-th of the whole. Muon's momentum is that of the hidden matrices.
- **counted**: on {layers} of the layers.
- **temporaries, MB**: ScionC's by the formula, Muon's as measured on {layers} of the layers, AdamW's among it.

{counts}

{faults}

Times of a step, medians of {repetitions} repetitions, with one thread for each process. In each repetition one process
steps the whole model while the other waits, and then both share the same step; ratios are medians of two ÷ one in the
same repetition. Other programs ran on the same two cores: read the ratios, which are below 1 where two beat one.

{times}
"""


def many_gpus(counted: sharded_step.Result | None, cluster: Cluster) -> str:
    """Everything about many GPUs, the reader's question first."""
    parts = [
        ANSWERS.format(
            answers="\n".join(answers(cluster)),
            hidden=hidden(cluster),
            tflops=cluster.flops / 1e12,
            between=cluster.between / 1e9,
            within=cluster.within / 1e9,
            node=cluster.node,
            tokens=cluster.tokens,
            memory=cluster.memory / 1e9,
        ),
        *tables(list(COSTED_MODELS), GPUS, cluster),
        SCHEMES,
        schemes_table(SCHEME_MODELS, SCHEME_GPUS, cluster),
    ]
    return "\n".join(parts if counted is None else [*parts, counted_section(counted)])


def answers(cluster: Cluster) -> list[str]:
    """In sentences, of rows of the tables below."""
    llama, mixture = COSTED_MODELS["llama-8b"], COSTED_MODELS["qwen3-30b-a3b"]
    few, many, most = (row(llama, "FSDP2", n) for n in (64, 512, 4096))
    replicas, whole = [row(llama, "HSDP, 8 shards", n) for n in (64, 512)], row(llama, "DDP", 64)
    stack, apart = (row(mixture, strategy, 512) for strategy in ("FSDP2", "EP 8 + FSDP2"))
    said = [
        "**FSDP2, also with tensor parallelism**: an N-th of the products and of the momentum, while there are as many "
        f"matrices as GPUs. llama-8b on 64 GPUs: {_gb(few.moved)} and {_exchange(few, cluster)} of exchange beside "
        f"{_lmo(few, cluster)} of products.",
        "**More GPUs than matrices**: the busiest GPU still has a whole matrix, and the products take no less time: "
        f"{_lmo(many, cluster)} on 512 GPUs and {_lmo(most, cluster)} on 4096.",
        f"**DDP**: moved weights are gathered in float32, {_gb(whole.moved)} for llama-8b on 64 GPUs, and more GPUs do "
        "not make it less.",
        "**HSDP**: owners speak with their own replica, and the replicas hand updates on, each as much as the one that "
        f"owns the most. llama-8b in replicas of 8 shards moves {_gb(replicas[0].moved)} on 64 GPUs and "
        f"{_gb(replicas[1].moved)} on 512, where FSDP2 over all of them moves {_gb(few.moved)} and {_gb(many.moved)}.",
        "**Experts**: cut the stack over an expert mesh. qwen3-30b-a3b on 512 GPUs then keeps "
        f"{_gb(max(apart.cost.state_bytes))} of state and has {_lmo(apart, cluster)} of products, in place of "
        f"{_gb(max(stack.cost.state_bytes))} and {_lmo(stack, cluster)} under FSDP2 alone, whose smallest shards are "
        "whole experts.",
    ]
    return [fill(f"- {one}", 119, subsequent_indent="  ") for one in said]


def hidden(cluster: Cluster) -> str:
    """Which models hide it under FSDP2, by the tables."""
    said = []
    for name, model in COSTED_MODELS.items():
        rows = [row(model, "FSDP2", n) for n in GPUS]
        covered = [str(one.ranks) for one in rows if _is_hidden(one, cluster)]
        said.append(f"{' or '.join(covered)} GPUs ({name})" if covered else f"none of these numbers ({name})")
    return fill(f"Under FSDP2 it hides, but for that part, on {'; '.join(said)}.", 119)


def counted_section(counted: sharded_step.Result) -> str:
    layers = counted.counts[0].layers
    # Updates travel in the dtype of the products of the machine that counted.
    with patch.object(choice, "HAS_FAST_BFLOAT16", counted.device["has_fast_bfloat16"]):
        faults, counts = sharded_counts.faults(counted.counts), sharded_counts.counts_table(counted.counts)
    return COUNTED.format(
        command=counted.command,
        date=counted.date,
        software=counted.software,
        place=counted.place,
        layers=layers,
        was="was" if layers == 1 else "were",
        counts=counts,
        faults="\n".join(faults) or "Nothing differed.",
        repetitions=len(next(iter(counted.timings[0].times.values()))),
        times=sharded_step.times_table(counted.timings),
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.2g} GB"


def _exchange_seconds(one: Row, cluster: Cluster) -> float:
    return cluster.seconds_of(one.moved, one.ranks)


def _is_hidden(one: Row, cluster: Cluster) -> bool:
    return max(one.cost.buckets) > 1 and _exchange_seconds(one, cluster) < one.flops / cluster.flops


def _exchange(one: Row, cluster: Cluster) -> str:
    return f"{1e3 * _exchange_seconds(one, cluster):.3g} ms"


def _lmo(one: Row, cluster: Cluster) -> str:
    return f"{1e3 * one.flops / cluster.flops:.3g} ms"
