"""Looks at an installation for ``manage.py partisan_doctor``: what is fine, what is not, and the cure."""

from django_partisan.doctor.examination import examine
from django_partisan.doctor.finding import Finding, exit_code, worst
from django_partisan.doctor.subject import Subject

__all__ = ["Finding", "Subject", "examine", "exit_code", "worst"]
