// A comparison as a picture: a line over the time for each measure.
#pragma once

#include <string>

#include "engine/compare/compare.h"

namespace wan {

/// An SVG of its own, 860 pixels wide, for light and dark surroundings: a chart for each measure, its worst frame marked. Of a
/// long video the extremes of neighbouring frames are drawn, at most kMostPlotted points in each line; identical frames
/// leave a gap in that of PSNR.
std::string svg_of(const Comparison& comparison);

constexpr size_t kMostPlotted = 1600;

}  // namespace wan
