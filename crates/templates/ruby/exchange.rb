# What all evaluators share: one JSON request a line on standard input, one JSON answer a line on standard output. An
# evaluator follows in the same program, gives Worker its `answer` to a request, and ends with `Worker.new.serve`.

require 'json'
require 'yaml'
require 'erb'
require 'base64'

# Templates may print; only answers go to the other side.
ANSWERS = STDOUT.dup
REQUESTS = STDIN.dup
STDOUT.reopen(File::NULL)
STDIN.reopen(File::NULL)

# One request after the other.
class Worker
  def serve
    while (line = REQUESTS.gets)
      reply = begin
        answer(JSON.parse(line, max_nesting: false))
      rescue Exception => e # rubocop:disable Lint/RescueException
        # The message may quote the request, which holds secrets.
        { failure: "#{e.class} in #{e.backtrace&.first}" }
      end
      ANSWERS.puts(JSON.generate(reply, max_nesting: 0))
      ANSWERS.flush
    end
  end

  private

  def compile(template)
    text = template['text'] || Base64.strict_decode64(template['base64']).force_encoding(Encoding::UTF_8)
    erb = ERB.new(text, trim_mode: '-')
    erb.filename = template['name']
    erb
  end

  def encode(text)
    text = text.dup.force_encoding(Encoding::UTF_8)
    text.valid_encoding? ? { text: text } : { base64: Base64.strict_encode64(text) }
  end
end

