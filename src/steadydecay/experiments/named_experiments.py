"""The experiments that `steadydecay reproduce` calls by a name, in the order of the paper."""

from steadydecay.experiments.decay_sweeps import TABLE3, TABLE4, TABLE5
from steadydecay.experiments.experiment import Experiment
from steadydecay.experiments.fig1 import FIG1
from steadydecay.experiments.fig2 import FIG2
from steadydecay.experiments.fig3 import FIG3
from steadydecay.experiments.fig4 import FIG4
from steadydecay.experiments.fig5 import FIG5
from steadydecay.experiments.fig6 import FIG6
from steadydecay.experiments.fig7 import FIG7
from steadydecay.experiments.fig8 import FIG8
from steadydecay.experiments.fig11 import FIG11
from steadydecay.experiments.fig12 import FIG12
from steadydecay.experiments.fig13 import FIG13
from steadydecay.experiments.nesterov import NESTEROV_CASE
from steadydecay.experiments.own_best import OWN_BEST
from steadydecay.experiments.seed003 import SEED003
from steadydecay.experiments.steady_norms import STEADY_NORM
from steadydecay.experiments.table2 import TABLE2
from steadydecay.experiments.wrong_match import FIG9, FIG10

EXPERIMENTS: dict[str, Experiment] = {
    "fig1": FIG1,
    "fig2": FIG2,
    "fig3": FIG3,
    "fig4": FIG4,
    "fig5": FIG5,
    "fig6": FIG6,
    "table2": TABLE2,
    "table3": TABLE3,
    "table4": TABLE4,
    "table5": TABLE5,
    "fig7": FIG7,
    "fig8": FIG8,
    "fig9": FIG9,
    "fig10": FIG10,
    "fig11": FIG11,
    "fig12": FIG12,
    "fig13": FIG13,
    "seed003": SEED003,
    "nesterov": NESTEROV_CASE,
    "steady_norm": STEADY_NORM,
    "own_best": OWN_BEST,
}
