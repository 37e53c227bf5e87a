"""The public interface: functions and estimators, written on what the stages use.

python -m pytest tests/test_interface.py
"""
