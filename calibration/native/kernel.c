/* The loops of calibration that torch's operators are slow at, on a CPU. */
#include <math.h>
#include <string.h>
#include "compensation.h"
#include "descent.h"
#include "counting.h"
#include "selection.h"
