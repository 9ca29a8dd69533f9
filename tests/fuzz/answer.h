// What a reader may answer to a file that it does not read.
#pragma once

#include "engine/base/error.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"

namespace wan::fuzz {

/// Calls `read`; an answer about the file ends here, anything else that is thrown goes on.
template <typename Read>
void answer(Read read) {
  try {
    read();
  } catch (const ModelError&) {
  } catch (const InvalidRequest&) {
  }
}

/// Takes the values of all tensors that are not large, as a network would. Throws std::logic_error where they have
/// another shape than their header says.
void read_values(const Checkpoint& checkpoint);

}  // namespace wan::fuzz
