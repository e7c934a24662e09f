"""Is a verdict still right when the machine or the target dies under the suite?"""
