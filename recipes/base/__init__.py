"""The few plain dataclasses and functions that cross all borders."""
