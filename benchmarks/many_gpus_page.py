"""The part of docs/scaling.md about many GPUs; benchmarks/scaling_page.py writes it."""

from textwrap import fill
from unittest.mock import patch

import sharded_counts
import sharded_step
from parallel_cost import COSTED_MODELS, GPUS, SCHEME_GPUS, SCHEME_MODELS, Cluster, Row, row, schemes_table, tables

from steadydecay.polar import choice

TITLE = """\
# What a step of ScionC costs

This page answers two questions: what a step of ScionC costs on many GPUs, and what it costs on one device. It is
written by `python benchmarks/scaling_page.py`.
"""

ANSWERS = """\
## What does it cost me on N GPUs?

{answers}

All of these numbers are computed, not measured. They are for GPUs that reach {tflops:.0f} TFLOP/s in half-precision
products and receive {between:.0f} GB/s from other nodes and {within:.0f} GB/s inside their node of {node}, which is
about what an H100 does. Each GPU has {tokens:,} tokens in a step, and latency is left out.
`python benchmarks/parallel_cost.py --help` explains how to compute them for another cluster.

The formulas (`steadydecay.optim.batches.step_cost`) call the functions of the step itself to find which rank owns which
matrix and which part of it each rank holds. `tests/optim/batches/test_step_cost.py` compares bytes, products and state
with the counted collectives of four real processes, and temporaries with a profile.

### When the exchange is hidden

The step runs after the backward pass. While an owner multiplies one bucket of matrices, the next bucket is on its way.
With b buckets, the first has to arrive before there is anything to multiply, and the last has to be sent back, so that
about a b-th of the exchange is never hidden. The rest is hidden while **exchange, ms** is less than **LMO, ms**.
{hidden}
If there is only one bucket, the whole exchange is added to the step. If the exchange takes longer than the products,
the difference is added. The last column says from how many tokens per GPU on the backward pass takes as long as the
exchange and could hide it, if both ran at the same time. Today they do not, and with fewer tokens even that would not
hide it.

### By model, strategy and GPUs

The tables are for the busiest GPU, with float32 weights, gradients and momentum and with five steps of the iteration in
its plain form. The embedding and the output take the sign.

- **held, GB**: weights, gradients and momentum; "too much" is more than {memory:.0f} GB.
- **state, GB** is the momentum, and **temporaries, GB** is the most that the step needs in addition at any one time.
- **moved, GB**: what the GPU sends or what it receives in the step, whichever is larger.
- **buckets**: each bucket is exchanged by two all-to-alls.
- **LMO, TFLOP**: the products of the busiest GPU. **÷ even** divides them by an N-th of all products.
- **hidden from, tokens**: the tokens per GPU for which the backward pass takes as long as the exchange.
"""

SCHEMES = """\
### What other schemes would take

The table applies the same formulas to the hidden matrices under FSDP2; Canzona and Megatron are under their own data
parallelism. It shows what each scheme moves in addition to what the strategy moves in any case, which is reduced
gradients and gathered weights. All schemes take five steps of the iteration.

- **torchtitan DistributedMuon** ([pull request 4060](https://github.com/pytorch/torchtitan/pull/4060)) assigns owners,
  the longest matrix first, and packs one all-to-all in each direction, in the dtype of the stored weights. ScionC does
  the same, but its updates come back in the half precision of the products. torchtitan orthogonalises heads one by one;
  they are not counted separately.
- **Muon of the dion package** ([microsoft/dion](https://github.com/microsoft/dion), `dion/muon.py`) takes as many
  matrices of one shape at a time as there are ranks, padded if there are fewer, in bfloat16 in both directions.
- **Canzona** ([arXiv 2602.06079](https://arxiv.org/abs/2602.06079)) is counted with its data parallelism. Gradients are
  reduced to whole matrices at their owners in the first place, so that the step itself moves nothing. It needs a data
  parallelism whose shards end at matrices, and its owners keep whole momenta. Its tensor parallelism, which exchanges,
  is not counted.
- **Megatron layer-wise** ([its documentation](https://docs.nvidia.com/megatron-core/developer-guide/latest/apidocs/core/core.optimizer.layer_wise_optimizer.html))
  all-reduces whole gradients where others reduce-scatter them, which is counted here as that difference in float32.
  Moved weights are gathered as ZeRO-1 does in any case.
- **owners, bfloat16 both ways** is what ScionC would take if momentum and update travelled in bfloat16.
- **whole gathers**: each rank gathers every matrix in bfloat16 and orthogonalises it.
"""

COUNTED = """\
### Counted in real processes

`{command}`, {date}; {software}; {place}.

The shapes are those of gpt2-small, under gloo. {layers} of its layers, with embedding and output, {was} stepped. If a
count for ScionC differs from the formulas, byte for byte and product for product, it is listed below the table. The
table is for all 12 layers: ScionC's numbers follow from the formulas, and those of torch.optim.Muon are scaled in
proportion, because it steps its matrices one by one (AdamW has the rest). An all-reduce counts as the 2(N-1)/N of its
bytes that a ring brings to each rank, and a reduce-scatter as (N-1)/N. Under FSDP2, torch.optim.Muon leaves its
products to DTensor, which shares them and exchanges operands. Where DTensor would use an all-to-all, it uses an
all-gather on a CPU, so that fewer bytes would arrive on GPUs.

- **÷ even**: the value of the busiest rank divided by an N-th of the whole. Muon's momentum is that of the hidden
  matrices.
- **counted**: on {layers} of the layers.
- **temporaries, MB**: ScionC's are from the formula. Muon's are measured on {layers} of the layers and include AdamW's.

{counts}

{faults}

The next table shows the times of a step as medians of {repetitions} repetitions, with one thread for each process. In
each repetition one process steps the whole model while the other waits, and then both share the same step. Ratios are
medians of the time of two processes divided by that of one in the same repetition; below 1, two processes are faster.
Other programs ran on the same two cores, so compare the ratios rather than the times.

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
        "**FSDP2, also with tensor parallelism**: each GPU has an N-th of the products and of the momentum, as long as "
        f"there are as many matrices as GPUs. llama-8b on 64 GPUs exchanges {_gb(few.moved)} in "
        f"{_exchange(few, cluster)}, beside {_lmo(few, cluster)} of products.",
        "**More GPUs than matrices**: the busiest GPU still has a whole matrix, so that the products take no less "
        f"time: {_lmo(many, cluster)} on 512 GPUs and {_lmo(most, cluster)} on 4096, for llama-8b.",
        f"**DDP**: the weights that have moved are gathered in float32, which is {_gb(whole.moved)} for llama-8b on 64 "
        "GPUs. More GPUs do not reduce it.",
        "**HSDP**: owners exchange with the ranks of their own replica, and the replicas pass updates on. Each replica "
        "passes on as much as the one that owns the most. llama-8b in replicas of 8 shards moves "
        f"{_gb(replicas[0].moved)} on 64 GPUs and "
        f"{_gb(replicas[1].moved)} on 512, where FSDP2 over all of them moves {_gb(few.moved)} and {_gb(many.moved)}.",
        "**Experts**: shard the stack of experts over an expert mesh. qwen3-30b-a3b on 512 GPUs then keeps "
        f"{_gb(max(apart.cost.state_bytes))} of state and has {_lmo(apart, cluster)} of products, instead of "
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
    return fill(f"Under FSDP2 it is hidden, except for that part, on {'; '.join(said)}.", 119)


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
