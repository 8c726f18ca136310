"""What a subclass of `Model` may define itself: the loss, the metrics, a whole step, all in traced code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelearn.training.own.gradients import minimize
from kernelearn.training.steps import own_losses
from kernelearn.utils import unpack_x_y_sample_weight

if TYPE_CHECKING:
    from kernelearn.layers.core.weight import Weight
    from kernelearn.optimizers import Optimizer
    from kernelearn.training.steps.programs import Programs


class Overridable:
    """The methods of a trainer that are there to be overridden, and what each does by itself."""

    programs: Programs

    if TYPE_CHECKING:

        @property
        def optimizer(self) -> Optimizer | None: ...

        @property
        def trainable_weights(self) -> list[Weight]: ...

        def __call__(self, *args: Any, **keywords: Any) -> Any: ...

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The number that training makes smaller, in code that is traced: override it for a loss of the
        model's own, such as that of an autoencoder, of distillation, or of contrast.

        This one gives the losses of `compile`, weighted, plus `losses`: what layers add by `add_loss`, and
        the penalties of regularisers. Only what it returns is trained on.

        Args:
            x, y, sample_weight: the batch as it was given to `fit`, traced; None where there is none.
            y_pred: what the model gave for x.
        """
        return own_losses.compiled_loss(self, y, y_pred, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Name -> metric, updated with a batch, in code that is traced.

        This one updates the metrics of `compile`. Metrics that are attributes of the model can be updated
        wherever their numbers are: `self.tracker.update_state(value)`.
        """
        return own_losses.compiled_metrics(self, y, y_pred, sample_weight)

    def train_step(self, data: Any) -> dict[str, Any]:
        """What is done with a batch, in code that is traced; gives the logs.

        Args:
            data: x, (x, y) or (x, y, sample_weight); see `kernelearn.utils.unpack_x_y_sample_weight`.
        """
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=True)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        minimize(loss, self.programs.compiled_optimizer(), self.trainable_weights)
        return self._logs(loss, x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """What `evaluate` does with a batch, in code that is traced; gives the logs."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        return self._logs(loss, x, y, y_pred, sample_weight)

    def _logs(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
        """The mean loss so far, and the metrics."""
        tracker = self.programs.own_steps.loss
        tracker.update_state(loss, own_losses.rows_of(x))
        return {"loss": tracker.result(), **self.compute_metrics(x, y, y_pred, sample_weight)}
