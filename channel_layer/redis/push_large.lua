-- Finish a push of large frames: they stand at the end of the queue, where RPUSH put them in the same transaction.
--
-- KEYS[1]   hash  statistics of the whole layer: sent, full
-- KEYS[2]   list  queue of a reader, as in push.lua
-- KEYS[3]   hash  statistics of that reader: sent, full
-- ARGV[1]   milliseconds a message lives
-- ARGV[2]   milliseconds statistics live without a change
-- ARGV[3]   capacity of the queue
-- ARGV[4]   how many frames were pushed
-- ARGV[5]   the server's time as the sender believes it to be, in milliseconds: what it stamped them with, less ARGV[1]
--
-- Returns as push.lua does for one queue. A script that is given a frame of a megabyte spends six times as long with
-- copying it as RPUSH does with storing it, hence all this.

local MOST_WRONG = 1000

local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
local pushed = tonumber(ARGV[4])
local refused = math.min(pushed, make_room(KEYS[2], redis.call('LLEN', KEYS[2]) - ARGV[3], ms))
local take = pushed - refused
if refused > 0 then
    redis.call('RPOP', KEYS[2], refused)
end
if take > 0 and math.abs(ARGV[5] - ms) > MOST_WRONG then
    -- The sender's idea of the time is wrong: stamp them anew, at the price of copying.
    local stamp = struct.pack('>d', ms + ARGV[1])
    local frames = redis.call('RPOP', KEYS[2], take)
    for i = take, 1, -1 do
        redis.call('RPUSH', KEYS[2], stamp .. string.sub(frames[i], 9))
    end
end
if take > 0 then
    keep(KEYS[2], redis.call('PTTL', KEYS[2]) < 0, ARGV[1] + 10000)
end
account(KEYS[1], take, refused, now)
account(KEYS[3], take, refused, now)
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return refused > 0 and { refused }
