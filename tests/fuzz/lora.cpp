// A LoRA of the network that the samples are for, in any dialect: its differences, and what they add.
#include "models/weights/lora/file.h"

#include <ATen/ATen.h>

#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void lora(std::string_view bytes) {
  static const Checkpoint network =
      Checkpoint::open(std::filesystem::path(WAN_SOURCE_DIR) / "tests/formats/lora/base.safetensors");
  const MemoryFile file(bytes);
  for (bool lax : {false, true})
    answer([&] {
      const lora::File read = lora::File::open(file.path(), network.tensors(), {.lax = lax});
      for (const lora::Difference& difference : read.differences())
        answer([&] { static_cast<void>(read.merged(network.map(difference.tensor), difference, 0.5)); });
    });
}

}  // namespace wan::fuzz
