#include "models/checkpoint.h"
