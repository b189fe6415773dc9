#include <malloc.h>

#include <span>
#include <string>

#include "engine/process/build_info.h"
#include "engine/process/command_line.h"
#include "engine/process/process_log.h"
#include "engine/process/service.h"
#include "engine/process/title.h"
#include "modules/all.h"

namespace {

using weir::process::CommandLine;
using weir::process::Locations;

// One heap that gives back what it does not need: workers serve on one thread and compile on
// another, and memory that a reload used must not stay. What bursts of a hundred streams need at
// the heap's top stays: given back and taken again it costs each gRPC call a tenth.
void tune_heap() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
  mallopt(M_MMAP_THRESHOLD, 256 * 1024);
  mallopt(M_TOP_PAD, 64 * 1024);
}

void print_version(const CommandLine& command_line) {
  using namespace weir::process;
  std::string text = "nginx version: " + product() + "\n";
  if (command_line.help) text += help_text();
  if (command_line.build) text += build_description(weir::all_modules()) + "\n";
  print_error(text);
}

}  // namespace

int main(int count, char** words) {
  tune_heap();
  const auto command_line = CommandLine::parse(
      std::span<const char* const>(words, static_cast<size_t>(count)).subspan(count > 0 ? 1 : 0));
  if (!command_line.problem.empty()) {
    weir::process::print_error("nginx: " + command_line.problem + "\n");
    return 1;
  }
  if (command_line.version) {
    print_version(command_line);
    if (!command_line.test) return 0;
  }
  const Locations locations = Locations::of(command_line);
  if (command_line.test) {
    return weir::process::test_configuration(weir::all_modules(), locations,
                                             {command_line.quiet, command_line.dump});
  }
  if (!command_line.signal.empty()) {
    return weir::process::send_signal(weir::all_modules(), locations, command_line.signal);
  }
  weir::process::remember_title_space(count, words);
  return weir::process::run_service(weir::all_modules(), locations);
}
