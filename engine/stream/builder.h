#pragma once

#include <map>
#include <memory>

#include "confparse/compiler.h"
#include "engine/stream/graph.h"

namespace weir::stream {

// The order of problems that nginx finds at the closing brace of stream: modules' finish()
// (Compiler::kFinishStage), modules' complete() (kCompleteStage), variables, server names.
enum Stage : uint32_t { kStageVariables = 200'000, kStageNames = 300'000 };

// The stream subsystem while it is compiled: modules reach it with builder(compiler). The graph
// goes to the generation at the end.
class Builder final : public conf::CompilerState {
 public:
  Graph& graph() {
    if (!graph_) graph_ = std::make_unique<Graph>();
    return *graph_;
  }
  // Null when the configuration has no stream block.
  std::unique_ptr<Graph> take_graph() { return std::move(graph_); }
  void add_phase_handler(Phase phase, PhaseHandler handler) {
    graph().hooks.phases[static_cast<size_t>(phase)].push_back(handler);
  }

  uint32_t close_number = 0;         // reading number of stream's closing brace
  Server* current_server = nullptr;  // whose block is being visited
  // Where each server's block begins, for what is found at the end of stream.
  std::map<const Server*, const conf::Statement*> server_statements;

 private:
  std::unique_ptr<Graph> graph_;
};

inline Builder& builder(conf::Compiler& compiler) {
  return compiler.state<Builder>();
}

}  // namespace weir::stream
