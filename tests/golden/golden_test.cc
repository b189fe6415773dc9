#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "golden_case.h"

using namespace weir::conf::test;

// WEIR_GOLDEN_WRITE=1 writes what is printed into the files instead of comparing (read the diff).
TEST_CASE("diagnostics are those of the golden files") {
  const auto paths = golden_paths();
  REQUIRE(paths.size() > 20);
  for (const auto& path : paths) {
    const GoldenCase golden = read_golden(path);
    const std::string printed = print_diagnostics(golden);
    if (std::getenv("WEIR_GOLDEN_WRITE")) {
      std::ifstream in(path, std::ios::binary);
      std::stringstream whole;
      whole << in.rdbuf();
      std::string text = whole.str();
      text = text.substr(0, text.find("\n----\n") + 6) + printed;
      if (!golden.not_for_oracle.empty()) text += "(oracle: no, " + golden.not_for_oracle + ")\n";
      std::ofstream(path, std::ios::binary) << text;
      continue;
    }
    CAPTURE(path.filename().string());
    CHECK(printed == golden.expected);
  }
}
