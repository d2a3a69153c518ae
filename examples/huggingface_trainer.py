"""transformers.Trainer and one callback. Run it: python examples/huggingface_trainer.py

It needs the extra for Hugging Face: pip install 'steadydecay[hf]'.
"""

import tempfile

import torch
from tiny_transformer import BATCH, CONTEXT, LR, STEPS, WEIGHT_DECAY, report, text_blocks
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed

import steadydecay as sd
from steadydecay.integrations.huggingface import SteadyDecayCallback

CONFIG = LlamaConfig(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=192,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=CONTEXT,
    tie_word_embeddings=False,
)


class Blocks(Dataset):
    def __init__(self) -> None:
        self.blocks = text_blocks()[:, :CONTEXT]

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.blocks[index], "labels": self.blocks[index]}


def train(corrected: bool, output_dir: str) -> None:
    set_seed(0)
    model = LlamaForCausalLM(CONFIG)
    arguments = TrainingArguments(
        output_dir,
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=LR,
        weight_decay=WEIGHT_DECAY,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": STEPS // 2, "decay_type": "linear"},
        logging_steps=STEPS // 2,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    # Trainer's own groups mix the output layer with other layers. These keep its decay constant.
    groups = sd.param_groups(model, "adamw", lr=arguments.learning_rate, weight_decay=arguments.weight_decay)
    trainer = Trainer(model, arguments, train_dataset=Blocks(), optimizers=(torch.optim.AdamW(groups), None))
    # rule=None logs the norms without changing the decay.
    SteadyDecayCallback(rule="corrected" if corrected else None).add_to(trainer)  # the line
    trainer.train()
    at_mid_run, at_end = (log["weight_norm/hidden"] for log in trainer.state.log_history if "loss" in log)
    report(corrected, at_mid_run, at_end)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        train(corrected=False, output_dir=folder)
        train(corrected=True, output_dir=folder)
