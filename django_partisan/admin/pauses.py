"""Django's admin for pauses: adding one pauses a queue, deleting one resumes it."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminSplitDateTime
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_partisan.admin.lookups import RefusesLookups
from django_partisan.config import queues
from django_partisan.models import Pause
from django_partisan.pausing import pause, resume

if TYPE_CHECKING:
    PauseAdminBase = admin.ModelAdmin[Pause]
    PauseFormBase = forms.ModelForm[Pause]
else:
    PauseAdminBase, PauseFormBase = admin.ModelAdmin, forms.ModelForm


class PauseForm(PauseFormBase):
    """The form of a pause. If the queue is already paused, the end and comment of its pause are replaced."""

    queue_name = forms.ChoiceField(label=_("queue"))
    until = forms.SplitDateTimeField(
        label=_("until"),
        required=False,
        widget=AdminSplitDateTime,
        help_text=_("Leave empty to pause the queue until it is resumed."),
    )
    comment = forms.CharField(label=_("comment"), required=False, widget=forms.Textarea(attrs={"rows": 3}))

    class Meta:
        model = Pause
        fields = ("queue_name", "until", "comment")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields.get("queue_name")  # absent if it is read-only
        if isinstance(field, forms.ChoiceField):
            field.choices = [(name, name) for name in queues.queue_names()]

    def clean_until(self) -> Any:
        """Refuse an end in the past."""
        until = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise forms.ValidationError(_("This moment is in the past."))
        return until

    def validate_constraints(self) -> None:
        """Accept a queue that already has a pause, even one that has ended."""


@admin.register(Pause)
class PauseAdmin(RefusesLookups, PauseAdminBase):
    """The admin of queues' pauses, for users with the permissions to view, add, change and delete them."""

    form = PauseForm
    list_display = ("queue_name", "is_on", "paused_at", "until", "by", "comment")
    ordering = ("queue_name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pause]:
        """Return the pauses of queues."""
        return super().get_queryset(request).filter(processor_class="")

    def get_readonly_fields(self, request: HttpRequest, obj: Pause | None = None) -> tuple[str, ...]:
        """Return the fields that cannot be changed: the queue of an existing pause."""
        return () if obj is None else ("queue_name",)

    @admin.display(description=_("paused"), boolean=True)
    def is_on(self, row: Pause) -> bool:
        """Return whether the pause is in force now."""
        return row.until is None or row.until > timezone.now()

    def save_model(self, request: HttpRequest, obj: Pause, form: Any, change: bool) -> None:
        """Pause the queue."""
        pause(obj.queue_name, until=obj.until, comment=obj.comment, by=request.user.get_username())
        obj.pk = self.get_queryset(request).get(queue_name=obj.queue_name).pk

    def delete_model(self, request: HttpRequest, obj: Pause) -> None:
        """Resume the queue."""
        resume(obj.queue_name)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Pause]) -> None:
        """Resume the queues."""
        for row in queryset:
            resume(row.queue_name)
