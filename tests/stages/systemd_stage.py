from proof import Skipped
def run(*a): raise Skipped("x")
