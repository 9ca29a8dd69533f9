#include "tools/cli/compare_command.h"

#include <iostream>

#include "engine/compare/compare.h"
#include "engine/compare/lpips_file.h"
#include "engine/job/outputs.h"
#include "models/files/atomic_file.h"
#include "models/files/error.h"
#include "tools/cli/compare_output.h"
#include "tools/cli/compare_plot.h"

namespace wan {

void run_compare(const Command& command, Console& console) {
  check_beside("plot", command.plot, command.overwrite);
  const auto lpips = command.lpips.empty() ? nullptr : load_lpips(command.lpips);
  const Comparison found =
      compare_videos({command.input, "A"}, {command.other, "B"}, lpips.get(), console.log(), console);
  // The numbers first: a plot that cannot be written costs none of them.
  if (command.json)
    write_json(found, std::cout);
  else
    std::cout << to_text(found);
  std::cout.flush();
  if (!command.plot.empty()) {
    check_beside("plot", command.plot, command.overwrite);  // something may have appeared meanwhile
    const std::string svg = svg_of(found);
    AtomicFile file(command.plot);
    file.write(svg.data(), svg.size());
    file.commit();
    console.log()("plot", {{"out", shown_name(command.plot)}});
  }
}

}  // namespace wan
