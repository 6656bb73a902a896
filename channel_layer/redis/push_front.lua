-- Put frames back to the front of a queue, whatever its capacity.
--
-- KEYS[1]   list  queue of a reader
-- ARGV[1]   milliseconds a message lives
-- then the frames, the last of them first

local now = redis.call('TIME')
local stamp = struct.pack('>d', now[1] * 1000 + now[2] / 1000 + ARGV[1])
for i = 2, #ARGV do
    redis.call('LPUSH', KEYS[1], stamp .. ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1] + 10000)
