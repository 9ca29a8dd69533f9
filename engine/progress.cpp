#include "engine/progress.h"
