// Whether decoded pictures have transparent parts. Included by this folder's .cpp files only.
#pragma once

#include "engine/media/av.h"

namespace wan::av {

/// Whether a pixel is not opaque. Float formats are not looked at: false.
bool has_transparency(const AVFrame& picture);

}  // namespace wan::av
