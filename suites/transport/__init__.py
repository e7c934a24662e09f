"""Do the target and its other sessions survive protocol errors and network faults?"""
