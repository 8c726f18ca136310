"""Views: they draw what others computed. Names and optional packages are imported on first use."""

from collections.abc import Callable
from typing import Any

from kernelearn._lazy import on_first_use
from kernelearn.view.figures import plot_data_grid, plot_history, plot_kernels, save_figure

# Public name -> the module of this package that defines it.
_LATER = {
    "plot_experiment": "experiment_figures",
    "plot_ledger": "explain_figures_weights",
    "plot_update_split": "explain_figures_weights",
    "plot_weight_history": "explain_figures_weights",
    "plot_dense_equivalent": "explain_figures_weights",
    "plot_filter_bank": "explain_figures_kernels",
    "plot_filter_bank_history": "explain_figures_kernels",
    "plot_filmstrip": "explain_figures_kernels",
    "plot_learning_curves": "explain_figures_kernels",
    "plot_layers_compared": "explain_figures_kernels",
    "plot_feature_maps": "explain_figures_views",
    "plot_receptive_fields": "explain_figures_views",
    "plot_patches": "explain_figures_views",
    "plot_attribution": "explain_figures_views",
    "plot_preferred": "explain_figures_views",
    "plot_unit": "explain_figures_units",
    "plot_unit_neuron": "explain_figures_units",
    "plot_delta": "explain_figures_units",
    "plot_image_pass": "explain_figures_passes",
    "plot_activation": "explain_figures_passes",
    "plot_geometry": "explain_figures_passes",
    "plot_runs_compared": "comparison_figure",
    "plot_network": "network_figure",
    "plot_neurons": "network_figure",
    "write_report": "report",
    "Microscope": "page.microscope",
    "serve": "page.serving",
    "export_page": "page.exporting",
}

__all__ = ["plot_data_grid", "plot_history", "plot_kernels", "save_figure", *_LATER]

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = on_first_use(
    __name__, {name: f"{__name__}.{module}" for name, module in _LATER.items()}, names=__all__
)
