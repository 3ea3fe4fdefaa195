"""The actions on tasks in the admin, one class for each.

An action requires its permission, selects the tasks to which it applies, and acts in batches. A task that
has changed since it was selected is left alone: the functions that are called here check it again.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib.admin.models import CHANGE, DELETION
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_partisan import cancelling, changing, requeueing
from django_partisan.admin.action_forms import CommentForm, ConfirmationForm, PriorityForm
from django_partisan.admin.admin_log import ActionResult
from django_partisan.admin.selection import Selection
from django_partisan.models import Task, TaskQuerySet

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


class TaskAction(ABC):
    """An action on tasks."""

    name: ClassVar[str]
    permission: ClassVar[str]
    label: ClassVar["StrPromise"]
    """The text in the list's menu."""
    button: ClassVar["StrPromise"]
    unsuitable: ClassVar["StrPromise"]
    """The message if the action applies to none of the selected tasks."""
    left_alone: ClassVar["StrPromise"] = _("changed in the meantime or locked by another transaction")
    """Why some tasks to which the action applies were not changed."""
    form: ClassVar[type[ConfirmationForm]] = CommentForm
    flag: ClassVar[int] = CHANGE
    is_destructive: ClassVar[bool] = False

    @abstractmethod
    def suitable(self, selection: Selection) -> TaskQuerySet:
        """Select those of the chosen tasks to which the action applies."""

    def suits(self, task: Task) -> bool:
        """Return whether the action applies to a task in its current state."""
        own = Selection([task.pk], chosen_number=1, is_all=False, is_cut=False, filters=[], reasons=())
        return self.suitable(own).exists()

    @abstractmethod
    def question(self, number: int) -> str:
        """Return the question of the confirmation."""

    @abstractmethod
    def act(self, ids: Sequence[int], values: Mapping[str, Any]) -> Iterator[list[ActionResult]]:
        """Act on tasks with the form's values; yield the changed tasks after each batch."""


class Requeue(TaskAction):
    name, permission = "requeue", "requeue_task"
    label, button = _("Requeue failed tasks"), _("Requeue")
    unsuitable = _(
        "Only failed tasks can be requeued. If all tasks of a filter are selected, cancelled and expired "
        "tasks are requeued only if the filter names their reason."
    )

    def suitable(self, selection: Selection) -> TaskQuerySet:
        """Select failed tasks; of a filter, cancelled and expired ones only if it names their reason."""
        tasks = selection.tasks
        return tasks.requeueable(selection.reasons) if selection.is_all else tasks.failed()

    def question(self, number: int) -> str:
        """Return the question of the confirmation."""
        return ngettext("Requeue %(count)d failed task?", "Requeue %(count)d failed tasks?", number)

    def act(self, ids: Sequence[int], values: Mapping[str, Any]) -> Iterator[list[ActionResult]]:
        """Requeue the tasks."""
        for batch in requeueing.requeue_batches(ids, values["comment"]):
            yield [ActionResult(task.id, task.processor, gettext("Requeued")) for task in batch]


class Cancel(TaskAction):
    name, permission = "cancel", "cancel_task"
    label, button = _("Cancel waiting and running tasks"), _("Cancel")
    unsuitable = _("Only waiting and running tasks can be cancelled.")
    is_destructive = True

    def suitable(self, selection: Selection) -> TaskQuerySet:
        """Select tasks that have not ended."""
        return selection.tasks.cancellable()

    def question(self, number: int) -> str:
        """Return the question of the confirmation."""
        return ngettext(
            "Cancel %(count)d task? If it runs, TaskCancelled is raised inside it.",
            "Cancel %(count)d tasks? If they run, TaskCancelled is raised inside them.",
            number,
        )

    def act(self, ids: Sequence[int], values: Mapping[str, Any]) -> Iterator[list[ActionResult]]:
        """Cancel the tasks that wait, and request the end of the others."""
        for batch in cancelling.cancel_batches(ids, values["comment"]):
            yield [
                ActionResult(
                    task.id,
                    task.processor,
                    gettext("Cancel requested") if task.is_requested else gettext("Cancelled"),
                )
                for task in batch
            ]


class RunNow(TaskAction):
    name, permission = "run_now", "run_task_now"
    label, button = _("Run scheduled tasks now"), _("Run now")
    unsuitable = _("Only tasks that are scheduled for later can be made due now.")

    def suitable(self, selection: Selection) -> TaskQuerySet:
        """Select tasks that are due later, including those that wait for a retry."""
        return selection.tasks.scheduled()

    def question(self, number: int) -> str:
        """Return the question of the confirmation."""
        return ngettext(
            "Make %(count)d scheduled task due now?", "Make %(count)d scheduled tasks due now?", number
        )

    def act(self, ids: Sequence[int], values: Mapping[str, Any]) -> Iterator[list[ActionResult]]:
        """Make the tasks due."""
        for batch in changing.run_now_all(ids, values["comment"]):
            yield [ActionResult(task.id, task.processor, gettext("Made due now")) for task in batch]


class Prioritize(TaskAction):
    name, permission = "prioritize", "prioritize_task"
    label, button = _("Change the priority of waiting tasks"), _("Change priority")
    unsuitable = _("Only waiting tasks can be given another priority.")
    left_alone = _("already at this priority, changed in the meantime or locked by another transaction")
    form = PriorityForm

    def suitable(self, selection: Selection) -> TaskQuerySet:
        """Select tasks that wait."""
        return selection.tasks.waiting()

    def question(self, number: int) -> str:
        """Return the question of the confirmation."""
        return ngettext(
            "Change the priority of %(count)d waiting task?",
            "Change the priority of %(count)d waiting tasks?",
            number,
        )

    def act(self, ids: Sequence[int], values: Mapping[str, Any]) -> Iterator[list[ActionResult]]:
        """Set the priority of the tasks."""
        said = gettext("Priority set to %(priority)d") % values
        for batch in changing.prioritize_all(ids, values["priority"], values["comment"]):
            yield [ActionResult(task.id, task.processor, said) for task in batch]


class Delete(TaskAction):
    name, permission = "delete_done", "delete_task"
    label, button = _("Delete finished and failed tasks"), _("Delete")
    unsuitable = _("Only finished and failed tasks can be deleted.")
    form = ConfirmationForm
    flag = DELETION
    is_destructive = True

    def suitable(self, selection: Selection) -> TaskQuerySet:
        """Select finished and failed tasks."""
        return selection.tasks.filter(status__in=(Task.STATUS_FINISHED, Task.STATUS_ERROR))

    def question(self, number: int) -> str:
        """Return the question of the confirmation."""
        return ngettext(
            "Delete %(count)d finished or failed task? This cannot be undone.",
            "Delete %(count)d finished or failed tasks? This cannot be undone.",
            number,
        )

    def act(self, ids: Sequence[int], values: Mapping[str, Any]) -> Iterator[list[ActionResult]]:
        """Delete the tasks."""
        for batch in changing.delete_all(ids):
            yield [ActionResult(task.id, task.processor, gettext("Deleted")) for task in batch]


ACTIONS: Final[Mapping[str, TaskAction]] = {
    action.name: action for action in (Requeue(), RunNow(), Prioritize(), Cancel(), Delete())
}
