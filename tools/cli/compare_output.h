// The two forms of a comparison: a table and JSON.
#pragma once

#include <ostream>
#include <string>

#include "engine/compare/compare.h"

namespace wan {

/// A line for each file, one for what was compared, and a table with a row for each measure. Of equal frames PSNR has no
/// number; where all are equal it says "identical".
std::string to_text(const Comparison& comparison);

/// One object, ended by a new line; docs/compare.md has its fields. What has no number (the PSNR of equal frames) is null.
/// Written piece by piece: frames, the only long list, take no memory.
void write_json(const Comparison& comparison, std::ostream& out);

/// "34.12", "0.9431": with as many decimals as the measure is told with.
std::string value_text(const Measure& measure, double value);
/// "3.56".
std::string seconds_text(double seconds);

}  // namespace wan
