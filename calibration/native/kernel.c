/* The loops of calibration that torch's operators are slow at, on a CPU in float64. */
#include <math.h>
#include <string.h>
#include "compensation.h"
#include "selection.h"
