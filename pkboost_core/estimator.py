"""scikit-learn's conventions without scikit-learn: parameters by introspection, tags when it is loaded."""

import inspect
import sys
from typing import Any, ClassVar, Self


class Estimator:
    """Base of the estimators: parameters are the arguments of `__init__`, kept unchanged as attributes."""

    _estimator_type: ClassVar[str]
    _is_multiclass: ClassVar[bool] = False

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; `deep` is accepted for scikit-learn's sake."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name and return the estimator."""
        known = self._parameter_names()
        for name, value in params.items():
            if name not in known:
                message = f"Invalid parameter {name!r} for estimator {type(self).__name__}"
                raise ValueError(f"{message}; known: {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not _same(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether `fit` was called; scikit-learn asks."""
        return hasattr(self, "ensemble_")

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator in scikit-learn's terms; only scikit-learn calls this, so it is loaded."""
        utils = sys.modules["sklearn.utils"]
        is_classifier = self._estimator_type == "classifier"
        return utils.Tags(
            estimator_type=self._estimator_type,
            target_tags=utils.TargetTags(required=True),
            classifier_tags=utils.ClassifierTags(multi_class=self._is_multiclass) if is_classifier else None,
            regressor_tags=None if is_classifier else utils.RegressorTags(),
            input_tags=utils.InputTags(allow_nan=True, string=True, categorical=True),
        )

    def _check_is_fitted(self) -> None:
        if not hasattr(self, "ensemble_"):
            message = f"this {type(self).__name__} is not fitted yet; call fit first"
            raise _not_fitted_error()(message)


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and value == default)


class NotFittedError(ValueError, AttributeError):
    """A fitted attribute or method was used before `fit`."""


def conversion_warning() -> type[Warning]:
    """Return scikit-learn's DataConversionWarning where it is loaded, else UserWarning."""
    exceptions = sys.modules.get("sklearn.exceptions")
    return exceptions.DataConversionWarning if exceptions else UserWarning


def _not_fitted_error() -> type[Exception]:
    """Return scikit-learn's own error type where scikit-learn is loaded: what its users expect to catch."""
    exceptions = sys.modules.get("sklearn.exceptions")
    return exceptions.NotFittedError if exceptions else NotFittedError
