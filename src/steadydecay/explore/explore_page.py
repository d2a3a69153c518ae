"""The page as a marimo notebook: what it shows, and what is redrawn when a control moves."""

import marimo

app = marimo.App(width="medium", app_title="steadydecay explore")


@app.cell
def _():
    import marimo as mo
    import torch

    from steadydecay.experiments.adam_steps import AdamSettings
    from steadydecay.explore import adam_part, controls, momentum_part, norm_part
    from steadydecay.explore.layout import controls_grid, figures_grid

    # Only for this thread, which draws the page: on a busy machine, the small matrices of the simulation take a second
    # on one thread, and minutes on two threads that wait for each other.
    torch.set_num_threads(1)
    return AdamSettings, adam_part, controls, controls_grid, figures_grid, mo, momentum_part, norm_part


@app.cell
def _(mo):
    # The tabs have no content: if they contained the figures, every move of a slider would recreate them at the first
    # tab.
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
    Both optimizers shrink the weight θ with the weight decay λθ. **AdamW** subtracts γλθ directly from the weight.
    **Adam-L2**, which is torch's `Adam(weight_decay=...)`, adds λθ to the gradient, which Adam then normalises. Look
    for the boxed term in the equations, and see in the last picture which weights vanish first.
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
                    "How much this step removes from θ": adam_part.step_figure(_weight, _gradient, _settings),
                    "Without a gradient, AdamW removes a share and Adam-L2 an amount": adam_part.decay_figure(
                        _weight, _settings
                    ),
                }
            ),
        ]
    )
    return


@app.cell
def _(NORM, controls_grid, mo, norm, norm_part, tabs):
    mo.stop(tabs.value != NORM)
    _text = """
    Starting from zero, updates make a weight grow and decay makes it shrink. After about 1/(2η) steps the two balance.
    Under a **constant λ**, this balance falls with the learning rate, and the norm follows it down. Choose the
    **corrected** rule to see the norm stay where it is. The points are a simulation of {entries} weights under pure
    noise, which runs while you watch.
    """
    mo.vstack([mo.md(_text.format(entries=norm_part.DIMENSION)), controls_grid(norm)])
    return


@app.cell
def _(NORM, figures_grid, mo, norm, norm_part, tabs):
    mo.stop(tabs.value != NORM)
    figures_grid({"Weight norm in units of the update norm": norm_part.norm_figure(norm_part.NormPlan(**norm.value))})
    return


@app.cell
def _(MOMENTUM, controls_grid, mo, momentum, tabs):
    mo.stop(tabs.value != MOMENTUM)
    _text = """
    Momentum repeats each gradient in later steps. If updates are normalised, it therefore raises the learning rate
    that matters, the **effective learning rate** γ<sub>eff</sub>. See how steep it is near β = 1, and how
    momentum alone can produce a whole schedule until β reaches 0.
    """
    mo.vstack([mo.md(_text), controls_grid(momentum)])
    return


@app.cell
def _(MOMENTUM, figures_grid, mo, momentum, momentum_part, tabs):
    mo.stop(tabs.value != MOMENTUM)
    _lr, _beta, _nesterov = (momentum.value[name] for name in ("lr", "momentum", "nesterov"))
    figures_grid(
        {
            "Effective learning rate by momentum": momentum_part.effective_lr_figure(_lr, _beta, _nesterov),
            "What one minibatch adds in total": momentum_part.contribution_figure(_lr, _beta, _nesterov),
            "One schedule of γ<sub>eff</sub>, produced in three ways": momentum_part.schedule_figure(
                _lr, _beta, _nesterov, momentum.value["shape"]
            ),
        }
    )
    return


if __name__ == "__main__":
    app.run()
