"""The page itself, a marimo notebook: what is shown, and what is drawn anew when a control moves."""

import marimo

app = marimo.App(width="medium", app_title="steadydecay explore")


@app.cell
def _():
    import marimo as mo
    import torch

    from steadydecay.experiments.adam_steps import AdamSettings
    from steadydecay.explore import adam_part, controls, momentum_part, norm_part
    from steadydecay.explore.layout import controls_grid, figures_grid

    # Of this thread, which draws the page: on a busy machine the small matrices of the simulation take a second on one
    # thread and minutes on two, which wait for each other.
    torch.set_num_threads(1)
    return AdamSettings, adam_part, controls, controls_grid, figures_grid, mo, momentum_part, norm_part


@app.cell
def _(mo):
    # Tabs without content: if they held the figures, every move of a slider would make them anew, at the first tab.
    ADAM, NORM, MOMENTUM = "AdamW or L2", "Schedules", "Momentum"
    tabs = mo.ui.tabs(dict.fromkeys((ADAM, NORM, MOMENTUM), ""))
    mo.vstack([mo.md("# steadydecay explore"), tabs])
    return ADAM, MOMENTUM, NORM, tabs


@app.cell
def _(controls):
    adam, norm, momentum = controls.adam_controls(), controls.norm_controls(), controls.momentum_controls()
    return adam, momentum, norm


@app.cell
def _(ADAM, adam, controls_grid, mo, tabs):
    mo.stop(tabs.value != ADAM)
    _text = """
    Both optimizers shrink the weight θ by weight decay λθ. **AdamW** takes γλθ off the weight itself; **Adam-L2**
    (torch's `Adam(weight_decay=...)`) adds λθ to the gradient, which Adam then normalises. Look at where the boxed
    term stands, and at which weights die first in the last picture.
    """
    mo.vstack([mo.md(_text), controls_grid(adam)])
    return


@app.cell
def _(ADAM, AdamSettings, adam, adam_part, figures_grid, mo, tabs):
    mo.stop(tabs.value != ADAM)
    _weight, _gradient = adam.value["weight"], adam.value["gradient"]
    _settings = AdamSettings(*(adam.value[name] for name in ("lr", "weight_decay", "beta1", "beta2")))
    _adamw, _adam_l2 = adam_part.equations(_weight, _gradient, _settings)
    mo.vstack(
        [
            figures_grid({"AdamW": _adamw, "Adam-L2": _adam_l2}),
            mo.md(adam_part.inflation(_weight, _gradient, _settings)),
            figures_grid(
                {
                    "This step: what comes off θ": adam_part.step_figure(_weight, _gradient, _settings),
                    "No gradient: AdamW takes a share, Adam-L2 an amount": adam_part.decay_figure(_weight, _settings),
                }
            ),
        ]
    )
    return


@app.cell
def _(NORM, controls_grid, mo, norm, norm_part, tabs):
    mo.stop(tabs.value != NORM)
    _text = """
    From zero, updates make a weight grow; decay makes it shrink; after some 1/(2η) steps the two balance. Under a
    **constant λ** that balance falls with the learning rate; look at how the norm follows it down, and choose the
    **corrected** rule to see it stay. Points are a simulation of {entries} weights under pure noise, run as you watch.
    """
    mo.vstack([mo.md(_text.format(entries=norm_part.DIMENSION)), controls_grid(norm)])
    return


@app.cell
def _(NORM, figures_grid, mo, norm, norm_part, tabs):
    mo.stop(tabs.value != NORM)
    figures_grid({"Weight norm, in updates": norm_part.norm_figure(norm_part.NormPlan(**norm.value))})
    return


@app.cell
def _(MOMENTUM, controls_grid, mo, momentum, tabs):
    mo.stop(tabs.value != MOMENTUM)
    _text = """
    Momentum repeats each gradient in later steps, so that with normalised updates it raises the learning rate that
    counts: the **effective lr** γ<sub>eff</sub>. Look at how steep it is near β = 1, and at how momentum alone can
    carry a whole schedule as far as β = 0.
    """
    mo.vstack([mo.md(_text), controls_grid(momentum)])
    return


@app.cell
def _(MOMENTUM, figures_grid, mo, momentum, momentum_part, tabs):
    mo.stop(tabs.value != MOMENTUM)
    _lr, _beta, _nesterov = (momentum.value[name] for name in ("lr", "momentum", "nesterov"))
    figures_grid(
        {
            "Effective lr of a momentum": momentum_part.effective_lr_figure(_lr, _beta, _nesterov),
            "What one minibatch adds in all": momentum_part.contribution_figure(_lr, _beta, _nesterov),
            "One schedule of γ<sub>eff</sub>, carried in three ways": momentum_part.schedule_figure(
                _lr, _beta, _nesterov, momentum.value["shape"]
            ),
        }
    )
    return


if __name__ == "__main__":
    app.run()
