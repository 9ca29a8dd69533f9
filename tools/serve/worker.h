// A worker of wan-serve: renders on one device what it is told over its standard input, and tells what comes of it over
// its standard output (engine/serve/work/protocol.h). It is expendable: what is not finished lies in the work folders.
#pragma once

namespace wan {

/// `wan-engine worker --device DEVICE [--threads N]`. Ends with 0 where it was told to or its input ended, 2 for wrong
/// arguments, 3 where the device cannot be used, 4 where it was lost, 1 for other errors.
int worker_main(int argc, char** argv);

}  // namespace wan
