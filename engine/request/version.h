// The version of the program, as --version prints it and a video's metadata holds it.
#pragma once

namespace wan {

/// "0.1.0".
const char* version();

}  // namespace wan
