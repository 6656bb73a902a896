-- Put frames back to the front of a queue, whatever its capacity.
--
-- KEYS[1]   list  queue of a reader
-- ARGV[1]   milliseconds a message lives
-- then, the last of them first: when a frame expires, as it stands in the queue, or empty; the frame
--
-- Also while the server has no memory left: they have just been taken off it. Hence the flag in front, see scripts.py.

local now = redis.call('TIME')
local stamp = struct.pack('>d', now[1] * 1000 + now[2] / 1000 + ARGV[1])
local length
for i = 2, #ARGV, 2 do
    length = redis.call('LPUSH', KEYS[1], (ARGV[i] == '' and stamp or ARGV[i]) .. ARGV[i + 1])
end
keep(KEYS[1], length == (#ARGV - 1) / 2, ARGV[1] + 10000)
