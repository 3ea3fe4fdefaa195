"""The forms of confirmations: a comment and, for a change of priority, the new priority."""

from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from django_partisan.config.validation import PRIORITIES

COMMENT_MAX: Final = 200


class ConfirmationForm(forms.Form):
    """A confirmation without fields."""


class CommentForm(ConfirmationForm):
    """A confirmation with a comment, which is stored in the history of each task."""

    comment = forms.CharField(
        label=_("Comment"),
        required=False,
        max_length=COMMENT_MAX,
        help_text=_("The reason for this action; stored in the history of each task."),
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )


class PriorityForm(CommentForm):
    """A confirmation with a priority and a comment."""

    priority = forms.IntegerField(
        label=_("Priority"),
        min_value=PRIORITIES.start,
        max_value=PRIORITIES.stop - 1,
        help_text=_("The lower number runs first."),
        widget=forms.NumberInput(attrs={"class": "vIntegerField"}),
    )
    field_order: Any = ("priority", "comment")
