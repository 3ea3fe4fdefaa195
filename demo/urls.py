"""The URLs of the demo: the admin and the report that a task wrote."""

from django.conf import settings
from django.contrib import admin
from django.http import FileResponse, Http404, HttpRequest
from django.urls import path
from django.views.generic import RedirectView


def report(_request: HttpRequest) -> FileResponse:
    """Return the latest report."""
    file = settings.DEMO_OUTPUT / "report.html"
    if not file.exists():
        raise Http404("The report does not exist yet: its task waits until all files are indexed.")
    return FileResponse(file.open("rb"), content_type="text/html")


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:django_partisan_task_changelist")),
    path("report/", report),
    path("admin/", admin.site.urls),
]
