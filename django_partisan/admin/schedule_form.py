"""The form of a schedule that is made by hand; the model itself validates the values."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from django_partisan.config.schedule_keys import CATCH_UP_ONE, CATCH_UPS, KEYS
from django_partisan.models import Schedule

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

    ScheduleFormBase = forms.ModelForm[Schedule]
else:
    ScheduleFormBase = forms.ModelForm

DEFINITION: Final = ("name", *KEYS, "comment")
"""The editable fields, in the order of the page."""
_LINE = {"class": "vTextField"}
_NUMBER = {"class": "vIntegerField"}
_BLOCK = {"class": "vLargeTextField", "rows": 3}


def _json(label: "StrPromise", help_text: "StrPromise", initial: Callable[[], Any]) -> forms.JSONField:
    """Return a multi-line JSON field."""
    return forms.JSONField(
        label=label,
        required=False,
        initial=initial,
        widget=forms.Textarea(attrs=_BLOCK),
        help_text=help_text,
    )


class ScheduleForm(ScheduleFormBase):
    """The form of a schedule: its task, its times, and the handling of late ticks."""

    cron = forms.CharField(
        label=_("Cron"),
        required=False,
        widget=forms.TextInput(attrs=_LINE),
        help_text=_("Five fields, or a name such as @daily. Set either this or the interval in seconds."),
    )
    time_zone = forms.CharField(
        label=_("Time zone"),
        required=False,
        widget=forms.TextInput(attrs=_LINE),
        help_text=_("The time zone of cron, such as Europe/Berlin. If empty, TIME_ZONE of the settings."),
    )
    catch_up = forms.ChoiceField(
        label=_("Catch up"),
        choices=[(word, word) for word in CATCH_UPS],
        initial=CATCH_UP_ONE,
        help_text=_("Which late ticks are enqueued: the newest one, none, or all."),
    )
    args = _json(_("Positional arguments"), _("A list in JSON."), list)
    kwargs = _json(_("Keyword arguments"), _("An object in JSON."), dict)
    overlap = forms.BooleanField(
        label=_("Overlap"),
        required=False,
        initial=True,
        help_text=_("Enqueue a tick's task even if the previous one is still waiting or running."),
    )
    expires_seconds = forms.FloatField(
        label=_("Expires after seconds"),
        required=False,
        widget=forms.NumberInput(attrs=_NUMBER),
        help_text=_("The task ends without a run if it has not started this many seconds after its tick."),
    )
    comment = forms.CharField(label=_("Comment"), required=False, widget=forms.TextInput(attrs=_LINE))

    class Meta:
        model = Schedule
        fields = DEFINITION

    def clean_args(self) -> Any:
        """Return the positional arguments; an empty field means an empty list."""
        return [] if self.cleaned_data["args"] is None else self.cleaned_data["args"]

    def clean_kwargs(self) -> Any:
        """Return the keyword arguments; an empty field means an empty object."""
        return {} if self.cleaned_data["kwargs"] is None else self.cleaned_data["kwargs"]
