"""Views: they draw what others computed and import nothing optional before it is used."""

from kernelearn.view.figures import plot_data_grid, plot_history, plot_kernels, save_figure

__all__ = ["plot_data_grid", "plot_history", "plot_kernels", "save_figure"]
