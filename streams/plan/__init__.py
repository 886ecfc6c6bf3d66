"""How many machines a number of streams needs: measured costs of the stages, formulas, and a simulation of the lag."""
