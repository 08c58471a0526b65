"""Submissions: grading one."""
