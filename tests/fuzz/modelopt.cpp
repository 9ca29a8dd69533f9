// What a folder of Model Optimizer says of its quantisation, in both files that may say it.
#include "models/weights/quantised/modelopt.h"

#include "models/files/scratch_folder.h"
#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void modelopt(std::string_view bytes) {
  static const ScratchFolder own, config;
  const MemoryFile file(bytes);
  file.put(own.path / "hf_quant_config.json");
  file.put(config.path / "config.json");
  for (const ScratchFolder* folder : {&own, &config}) answer([&] { modelopt_ways(folder->path); });
}

}  // namespace wan::fuzz
